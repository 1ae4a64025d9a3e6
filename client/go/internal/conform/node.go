package main

// JSON as a tree that keeps the order of keys and the spelling of numbers.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// node is a value: nil, bool, string, json.Number, or with members or items.
type node struct {
	scalar  any
	members []member
	items   []*node
	kind    byte // '{', '[' or 0
}

type member struct {
	key   string
	value *node
}

func parse(line []byte) (*node, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	root, err := value(decoder)
	if err != nil {
		return nil, err
	}
	if _, err = decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("something stands behind the object")
	}
	if root.kind != '{' {
		return nil, fmt.Errorf("no object")
	}
	return root, nil
}

func value(decoder *json.Decoder) (*node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	delim, is := token.(json.Delim)
	if !is {
		return &node{scalar: token}, nil
	}
	n := &node{kind: byte(delim)}
	for decoder.More() {
		var key string
		if n.kind == '{' {
			if token, err = decoder.Token(); err != nil {
				return nil, err
			}
			key, _ = token.(string) // keys are nothing else
		}
		child, err := value(decoder)
		if err != nil {
			return nil, err
		}
		if n.kind == '{' {
			n.members = append(n.members, member{key, child})
		} else {
			n.items = append(n.items, child)
		}
	}
	_, err = decoder.Token()
	return n, err
}

// get gives the value of a key; nil when it is not there or null.
func (n *node) get(key string) *node {
	for _, m := range n.members {
		if m.key == key && (m.value.kind != 0 || m.value.scalar != nil) {
			return m.value
		}
	}
	return nil
}

func (n *node) text(key string) string {
	if found := n.get(key); found != nil {
		text, _ := found.scalar.(string)
		return text
	}
	return ""
}

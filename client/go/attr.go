package dwell

// Attributes of spans, events, links and metrics.

import (
	"math"
	"strconv"
)

const (
	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
	anyArray  = 5
	anyMap    = 6
	anyBytes  = 7

	valuesField = 1

	// Lists in lists, as the daemon has it.
	depthMax = 8
)

type valueKind uint8

const (
	kindNull valueKind = iota
	kindString
	kindBool
	kindInt
	kindFloat
	kindList
	kindMap
	kindBytes
)

// Value is what an attribute holds. The zero Value is null.
type Value struct {
	kind   valueKind
	number uint64
	text   string // also bytes
	list   []Value
	pairs  []Attr
}

// Attr is an attribute: a key, 1 to 256 bytes, and a value.
type Attr struct {
	Key   string
	Value Value
}

// StringValue is a text.
func StringValue(value string) Value { return Value{kind: kindString, text: value} }

// IntValue is a whole number.
func IntValue(value int64) Value { return Value{kind: kindInt, number: uint64(value)} }

// FloatValue is a number.
func FloatValue(value float64) Value { return Value{kind: kindFloat, number: math.Float64bits(value)} }

// BytesValue is bytes, which need not be text.
func BytesValue(value []byte) Value { return Value{kind: kindBytes, text: string(value)} }

// ListValue is a list of values of any kinds; lists and maps lie in one another at most 8 deep, and what
// is deeper is null. The slice is read before the call that gets the attribute returns.
func ListValue(values ...Value) Value { return Value{kind: kindList, list: values} }

// MapValue is attributes in an attribute.
func MapValue(attributes ...Attr) Value { return Value{kind: kindMap, pairs: attributes} }

// BoolValue is true or false.
func BoolValue(value bool) Value {
	if value {
		return Value{kind: kindBool, number: 1}
	}
	return Value{kind: kindBool}
}

// String makes an attribute that is a text.
func String(key, value string) Attr { return Attr{key, StringValue(value)} }

// Int makes an attribute that is a whole number.
func Int(key string, value int64) Attr { return Attr{key, IntValue(value)} }

// Float makes an attribute that is a number.
func Float(key string, value float64) Attr { return Attr{key, FloatValue(value)} }

// Bool makes an attribute that is true or false.
func Bool(key string, value bool) Attr { return Attr{key, BoolValue(value)} }

// Strings makes an attribute that is a list of texts.
func Strings(key string, values ...string) Attr {
	list := make([]Value, len(values))
	for i, value := range values {
		list[i] = StringValue(value)
	}
	return Attr{key, ListValue(list...)}
}

// Ints makes an attribute that is a list of whole numbers.
func Ints(key string, values ...int64) Attr {
	list := make([]Value, len(values))
	for i, value := range values {
		list[i] = IntValue(value)
	}
	return Attr{key, ListValue(list...)}
}

// append appends the fields of an AnyValue.
func (v *Value) append(b []byte, depth int) []byte {
	switch v.kind {
	case kindString:
		return appendText(b, anyString, v.text)
	case kindBool:
		return appendNumber(b, anyBool, v.number)
	case kindInt:
		return appendNumber(b, anyInt, v.number)
	case kindFloat:
		return appendFixed64(b, anyDouble, v.number)
	case kindBytes:
		return appendText(b, anyBytes, v.text)
	case kindList, kindMap:
		if depth < depthMax {
			return v.appendMany(b, depth)
		}
	}
	return b
}

// appendMany appends a list or a map; what lies deeper than may be is null.
func (v *Value) appendMany(b []byte, depth int) []byte {
	field := uint64(anyArray)
	if v.kind == kindMap {
		field = anyMap
	}
	b = nestedBegin(b, field)
	at := len(b)
	for i := range v.list {
		b = nestedBegin(b, valuesField)
		inner := len(b)
		b = nestedEnd(v.list[i].append(b, depth+1), inner)
	}
	for i := range v.pairs {
		b = v.pairs[i].appendDeep(b, valuesField, depth+1)
	}
	return nestedEnd(b, at)
}

// append appends a KeyValue.
func (a *Attr) append(b []byte, field uint64) []byte {
	return a.appendDeep(b, field, 0)
}

func (a *Attr) appendDeep(b []byte, field uint64, depth int) []byte {
	b = nestedBegin(b, field)
	at := len(b)
	b = nestedBegin(appendText(b, keyValueKey, a.Key), keyValueValue)
	inner := len(b)
	return nestedEnd(nestedEnd(a.Value.append(b, depth), inner), at)
}

// label is the value as the text that an attribute of a metric has. False: it has none.
func (v *Value) label() (string, bool) {
	switch v.kind {
	case kindString:
		return v.text, true
	case kindBool:
		return strconv.FormatBool(v.number != 0), true
	case kindInt:
		return strconv.FormatInt(int64(v.number), 10), true
	case kindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.number), 'g', -1, 64), true
	}
	return "", false
}

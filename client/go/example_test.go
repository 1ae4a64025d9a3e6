package dwell_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	dwell "github.com/dwell/dwell/client/go"
)

func infer() error { return nil }

func Example() {
	ctx := context.Background()
	client := dwell.Open(dwell.Options{ServiceName: "ranker", ServiceVersion: "1.4.0"})
	defer client.Close(ctx)

	model := client.Model("resnet50") // once
	requests := client.Counter("http.requests", "", dwell.Int("code", 200))

	track := model.Begin()
	err := infer()
	track.End(err)
	requests.Add(1)

	fmt.Println(err)
	// Output: <nil>
}

func ExampleClient_StartSpan() {
	client := dwell.Open(dwell.Options{})
	defer client.Close(context.Background())

	ctx, span := client.StartSpan(context.Background(), "predict", dwell.String("device", "cpu"))
	defer span.End()

	track := client.Model("resnet50").BeginContext(ctx) // bears the ids of the span
	err := infer()
	track.End(err)
	span.RecordError(err)

	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://next/", nil)
	client.Inject(ctx, request.Header) // traceparent and b3
	fmt.Println(request.Header.Get("traceparent")[:3])
	// Output: 00-
}

func ExampleBudget_Run() {
	client := dwell.Open(dwell.Options{})
	defer client.Close(context.Background())

	budget := client.Budget(50*time.Millisecond, dwell.Layer{Name: "rules", Budget: time.Millisecond})
	err := budget.Run(context.Background(), "rules", func(ctx context.Context) error {
		<-ctx.Done() // takes too long
		return ctx.Err()
	})
	var timeout *dwell.LayerTimeoutError
	fmt.Println(errors.As(err, &timeout), timeout.LayerName, timeout.BudgetMS)
	// Output: true rules 1
}

func ExampleClient_Handler() {
	client := dwell.Open(dwell.Options{})
	defer client.Close(context.Background())

	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/infer", func(http.ResponseWriter, *http.Request) {})
	server := http.Server{Handler: client.Handler("ranker", mux, nil)}
	fmt.Println(server.Handler != nil)
	// Output: true
}

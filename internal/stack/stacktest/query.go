package stacktest

import (
	"context"
	"errors"
	"testing"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
)

// Query reads into to what the workflow id answers to the query. It asks again when there was no
// answer within the 10 s that Temporal's SDK gives a call: a busy machine may not have one.
func Query(t testing.TB, c client.Client, id, query string, to any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), restartLimit)
	defer cancel()
	value, err := c.QueryWorkflow(ctx, id, "", query)
	for late(err) && ctx.Err() == nil {
		value, err = c.QueryWorkflow(ctx, id, "", query)
	}
	if err == nil {
		err = value.Get(to)
	}
	if err != nil {
		t.Fatalf("ask %s: %v", id, err)
	}
}

func late(err error) bool {
	var exceeded *serviceerror.DeadlineExceeded
	return errors.As(err, &exceeded) || errors.Is(err, context.DeadlineExceeded)
}

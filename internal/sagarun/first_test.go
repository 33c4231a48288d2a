package sagarun_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/telemetry"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/saga/core"
)

// TestFirstStepsSpans: the span of a step that is done together with others says how it
// ended, as that of a step by itself does.
func TestFirstStepsSpans(t *testing.T) {
	t.Parallel()
	db := database(t)
	for name, row := range map[string]struct {
		err     error
		outcome core.OutcomeKind
		text    string
	}{
		"done":    {nil, core.OutcomeDone, ""},
		"refused": {saga.Refuse("full"), core.OutcomeRefused, "full"},
		"failed":  {errOops, core.OutcomeFailed, "oops"},
	} {
		t.Run(name, func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
			t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
			r := newRig(t, db, rooms(func(context.Context, *gorm.DB, *trip) error { return row.err }, leaveRoom))
			r.Trace = telemetry.New(p, "holdfast")
			s := r.step("rooms", "room", `{"who":"ann"}`)
			s.Saga.Trace.Parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
			b := barrier.BegunSaga{SagaStart: holdfast.SagaStart{Name: "rooms", Version: 1, Key: "K-1",
				State: s.Data}, Content: "c", Holder: "start"}
			_, err := r.DoFirst(t.Context(), b, s,
				func(core.Outcome) (*activities.SagaStep, json.RawMessage, error) { return nil, nil, nil })
			require.ErrorIs(t, err, row.err)
			require.Len(t, spans.GetSpans(), 1)
			span := spans.GetSpans()[0]
			require.Equal(t, row.text, span.Status.Description)
			for _, a := range span.Attributes {
				if a.Key == "holdfast.outcome" {
					require.Equal(t, string(row.outcome), a.Value.AsString())
					return
				}
			}
			require.Fail(t, "no outcome")
		})
	}
}

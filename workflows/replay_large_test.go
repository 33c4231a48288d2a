package workflows_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/workflow"

	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestReplayBeforeThereWereLimits: a saga that an earlier version ran has recorded in
// one workflow task more than a task records now, and yet not too much for Temporal.
func TestReplayBeforeThereWereLimits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/histories/saga-worker-versions-2.json")
	require.NoError(t, err)
	history := &historypb.History{}
	require.NoError(t, temporalproto.CustomJSONUnmarshalOptions{DiscardUnknown: true}.Unmarshal(text, history))
	size := 0
	for _, e := range history.Events {
		if m := e.GetMarkerRecordedEventAttributes(); m != nil {
			for _, p := range m.Details["result"].GetPayloads() {
				swell(t, p)
				size += len(p.Data)
			}
		}
	}
	require.Greater(t, size, 3<<20/2)
	r := stacktest.Replayer(t)
	r.RegisterWorkflowWithOptions(sagas.Saga, workflow.RegisterOptions{Name: sagas.Name})
	require.NoError(t, r.ReplayWorkflowHistory(nil, history))
}

// swell has a step change a large text in the state.
func swell(t *testing.T, p *commonpb.Payload) {
	var result map[string]any
	require.NoError(t, json.Unmarshal(p.Data, &result))
	outcome, _ := result["outcome"].(map[string]any)
	if outcome["kind"] != "done" {
		return
	}
	patch, _ := outcome["patch"].(map[string]any)
	if patch == nil {
		patch = map[string]any{}
	}
	patch["text"] = strings.Repeat("t", 240<<10)
	outcome["patch"] = patch
	var err error
	p.Data, err = json.Marshal(result)
	require.NoError(t, err)
}

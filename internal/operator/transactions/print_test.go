package transactions

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/golden"
	"github.com/holdfastmq/holdfast/internal/operator/history"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// placed is when the transactions that are printed began.
var placed = time.Date(2026, 3, 4, 23, 59, 58, 0, time.UTC)

func TestPrintRows(t *testing.T) {
	now := placed.Add(90 * time.Minute)
	var out bytes.Buffer
	require.NoError(t, PrintRows(&out, []Row{
		{Tx: "01927c4e-6f0e-7cc3-98c4-dc0c0c07398f", State: "parked", Topics: []string{"order.placed"}, Keys: []string{"A-1\x1b[2J"}, Started: placed, WorkflowID: "tx/orders/01927c4e-6f0e-7cc3-98c4-dc0c0c07398f"},
		{State: "running", Topics: []string{"a", "b", "c"}, Started: now.Add(-3 * time.Second), WorkflowID: "cohort/orders/7"},
	}, now))
	golden.Equal(t, "list.txt", out.String())

	out.Reset()
	require.NoError(t, PrintRows(&out, nil, now))
	require.Equal(t, "No transactions.\n", out.String())
}

func TestPrintDetail(t *testing.T) {
	closed := placed.Add(time.Minute)
	d := Detail{Row: Row{Tx: "1", Group: "orders", State: "committed", Started: placed, Closed: &closed, WorkflowID: "tx/orders/1", RunID: "r"},
		UI: server.UiLink("http://ui/", "default", "tx/orders/1", "r")}
	d.Transactions = []txflow.MemberStatus{{ID: "1", State: workflows.Committed, Resolution: holdfast.Commit, Decided: "ann: the bank says so", Checks: 2, Unreached: 1}}
	d.Messages = []MessageDetail{
		newMessageDetail(t.Context(), nil, holdfast.Message{ID: "1.1", Topic: "order.placed", Key: "A-1", ContentType: "application/json", Body: []byte("{\n\t\"a\": 1\n}")}, true),
		newMessageDetail(t.Context(), nil, holdfast.Message{ID: "1.2", Topic: "order.counted", Body: []byte{0xff, 0}}, true),
	}
	d.Steps = []history.Step{{At: placed, Kind: "workflow", Name: "started", Summary: "transaction: order.placed"}}
	var out bytes.Buffer
	require.NoError(t, d.Print(&out, closed.Add(time.Hour)))
	golden.Equal(t, "show.txt", out.String())

	d.Row.Tx, d.Unknown = "", "no process of group orders answered"
	d.Transactions = append(d.Transactions, txflow.MemberStatus{ID: "2", State: workflows.Parked, Reason: "undecided", Keys: []string{"k", "l"}})
	d.Messages, d.Closed, d.Cut, d.UI = nil, nil, true, ""
	out.Reset()
	require.NoError(t, d.Print(&out, closed.Add(time.Hour)))
	golden.Equal(t, "show-cohort.txt", out.String())
}

func TestBodiesAreShownOnlyWhenAskedFor(t *testing.T) {
	m := newMessageDetail(t.Context(), nil, holdfast.Message{Body: []byte("secret")}, false)
	require.Equal(t, 6, m.Size)
	require.Empty(t, m.Text)
	require.Empty(t, m.Base64)
}

// TestADetailIsOfOneMember: of the workflow that several share, the one that is meant.
func TestADetailIsOfOneMember(t *testing.T) {
	var d Detail
	d.fill(t.Context(), nil, target{Tx: "2"}, txflow.Status{Transactions: []txflow.MemberStatus{{ID: "1"}, {ID: "2", State: workflows.Refused, Keys: []string{"k"}}}}, history.Story{Messages: map[string][]holdfast.Message{"1": {{ID: "1", Topic: "a"}}, "2": {{ID: "2", Topic: "b"}}}, Order: []string{"1", "2"}}, false)
	require.Equal(t, "2", d.Tx)
	require.Equal(t, "refused", d.State)
	require.Len(t, d.Messages, 1)
	require.Equal(t, "b", d.Messages[0].Topic)
	require.Equal(t, []string{"5"}, Undecided([]txflow.MemberStatus{{ID: "1", State: workflows.Committed}, {ID: "5", State: "terminated"}}))
}

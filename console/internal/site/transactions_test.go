package site

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

// parkedTransaction is one that nobody could decide.
func parkedTransaction() transactions.Detail {
	m := txflow.MemberStatus{ID: "7", State: workflows.Parked, Reason: "undecided", Checks: 3}
	return transactions.Detail{Row: transactions.Row{Tx: "7", Group: "orders", State: "parked", Reason: "undecided", Started: began,
		WorkflowID: "tx/orders/7", RunID: "r"}, Transactions: []txflow.MemberStatus{m},
		Messages: []transactions.MessageDetail{{ID: "7", Topic: "order.<b>placed</b>", Size: 2}},
		Choices:  []string{txflow.UpdateCommit, txflow.UpdateRollback, txflow.UpdateRecheck}, Commands: []string{"holdfast tx commit"}}
}

const commitTx = "kind=tx&id=tx%2Forders%2F7&act=commit"

func TestTransactionsAreActedOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.transaction = parkedTransaction()
	b := h.as("operator")
	page := b.get("/transaction?id=tx%2Forders%2F7")
	require.Equal(t, http.StatusOK, page.status, page.body)
	for _, want := range []string{"The database of group orders is asked first.", "Its message is delivered: order.&lt;b&gt;placed&lt;/b&gt;.",
		"Roll back …", "Check back now …", "it can never commit later", "the outcome row, or the Checker, of group orders is asked"} {
		require.Contains(t, page.body, want)
	}
	require.NotContains(t, page.body, "<b>")
	require.NotContains(t, page.body, "on the command line")
	form := b.confirm(commitTx)
	require.Empty(t, h.desk.acts())
	for range 2 {
		got := b.post("/do", form)
		require.Equal(t, http.StatusSeeOther, got.status, got.body)
		require.Contains(t, b.get(got.to).body, "Commit: committed")
	}
	require.Equal(t, []string{"commit tx/orders/7 by operator (authenticated by file): as agreed"}, h.desk.acts())
	require.Equal(t, []string{"tx commit", "tx/orders/7"}, []string{h.entries()[0].Action, h.entries()[0].Target})
	require.NotContains(t, h.as("viewer").get("/transaction?id=tx%2Forders%2F7").body, "/do?")
}

// TestAStaleTransactionIsRefused: whatever an operator decides by has changed.
func TestAStaleTransactionIsRefused(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*transactions.Detail){
		"state":       func(d *transactions.Detail) { d.State = "delivering" },
		"run":         func(d *transactions.Detail) { d.RunID = "s" },
		"resolution":  func(d *transactions.Detail) { d.Transactions[0].Resolution = holdfast.Commit },
		"reason":      func(d *transactions.Detail) { d.Transactions[0].Reason = "another" },
		"check-backs": func(d *transactions.Detail) { d.Transactions[0].Checks++ },
	} {
		h := newHouse(t)
		h.desk.transaction = parkedTransaction()
		b := h.as("operator")
		form := b.confirm(commitTx)
		change(&h.desk.transaction)
		got := b.post("/do", form)
		require.Equal(t, http.StatusConflict, got.status, what)
		require.Contains(t, got.body, "<td>"+what+"</td>")
		require.Empty(t, h.desk.acts())
	}
}

// TestWhatATransactionOffers: nothing where it is settled, or where several are meant.
func TestWhatATransactionOffers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	d := parkedTransaction()
	d.WorkflowID, d.Tx, d.Choices, d.Commands = "cohort/orders/1", "", nil, nil
	d.Transactions = append(d.Transactions, txflow.MemberStatus{ID: "8/<b>", State: workflows.Committed})
	h.desk.transaction = d
	page := h.as("operator").get("/transaction?id=cohort%2Forders%2F1").body
	require.NotContains(t, page, "What can be done")
	require.Contains(t, page, "/transaction?id="+url.QueryEscape("tx/orders/7"))
	require.NotContains(t, page, "<b>")
	got := h.as("operator").get("/do?kind=tx&id=cohort%2Forders%2F1&act=commit")
	require.Equal(t, http.StatusConflict, got.status)
}

func TestTransactionsAreListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.desk.parked = []transactions.Row{parkedTransaction().Row}
	b := h.as("viewer")
	page := b.get("/transactions?state=parked")
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.body, "/transaction?id=tx%2forders%2f7")
	require.Contains(t, page.body, "<option selected>parked</option>")
	require.Equal(t, http.StatusBadRequest, b.get("/transactions?state=odd").status)
}

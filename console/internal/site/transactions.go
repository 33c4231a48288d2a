package site

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/server"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
	"github.com/holdfastmq/holdfast/workflows"
	txflow "github.com/holdfastmq/holdfast/workflows/transactions"
)

func (s *Site) transactionsPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	f := transactions.Filter{Group: q.Get("group"), Topic: q.Get("topic"), Key: q.Get("key"),
		States: statesOf(q.Get("state")), Reasons: true}
	if err := f.Validate(); err != nil {
		s.failed(w, r, of, text.Usage(err))
		return
	}
	rows, rest, err := s.Desk.Transactions(r.Context(), f, listShown)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	s.render(w, r, http.StatusOK, of, "transactions.html", "Transactions", list[transactions.Row]{
		Filter: q, States: transactions.States, Rows: rows, Rest: rest})
}

// transactionView is one transaction's page, or that of a workflow that several share.
type transactionView struct {
	transactions.Detail
	Choices []choice
	Members []member
	// MoreMembers says that others share the workflow, which are not shown.
	MoreMembers bool
}

// member is a transaction that shares a workflow.
type member struct {
	txflow.MemberStatus
	To string // its page
}

func (s *Site) transactionPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	d, err := s.Desk.Transaction(r.Context(), r.URL.Query().Get("id"))
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	v := transactionView{Detail: d}
	for _, name := range d.Choices {
		q := url.Values{"kind": {kindTx}, "id": {d.Name()}, "act": {name}}
		act, _ := transactions.ActNamed(name)
		v.Choices = append(v.Choices, choice{Title: transactionTitle(name), Short: act.Short, Effects: d.Effects(name),
			To: "/do?" + q.Encode()})
	}
	all := d.Transactions
	if len(all) > listShown {
		all, v.MoreMembers = all[:listShown], true
	}
	for _, m := range all {
		v.Members = append(v.Members, member{m, "/transaction?id=" + url.QueryEscape(server.OwnID(d.WorkflowID, m.ID))})
	}
	s.render(w, r, http.StatusOK, of, "transaction.html", "Transaction "+d.Tx, v)
}

// transactionTitle is an act on a transaction in words.
func transactionTitle(act string) string {
	switch act {
	case txflow.UpdateRollback:
		return "Roll back"
	case txflow.UpdateRecheck:
		return "Check back now"
	}
	return text.Capital(act)
}

// transactionTarget is a transaction as it stands now.
func (s *Site) transactionTarget(ctx context.Context, o confirm.Order) (target, error) {
	d, err := s.Desk.Transaction(ctx, o.Target)
	if err != nil {
		return target{}, err
	}
	if _, known := transactions.ActNamed(o.Act); !known {
		return target{}, text.Usagef("there is no such action on transactions")
	}
	return target{id: d.Name(), title: transactionTitle(o.Act), state: d.State, facts: transactionFacts(d),
		effects: d.Effects(o.Act), possible: slices.Contains(d.Choices, o.Act),
		act: func(ctx context.Context, who desk.Who) (actions.Outcome, error) {
			return s.Desk.ActOnTransaction(ctx, d.Row, o.Act, who)
		}}, nil
}

// transactionFacts are what an operator decides by. Of one that is parked, another check-back
// counts, which somebody has asked for; else they come by themselves.
func transactionFacts(d transactions.Detail) confirm.Facts {
	facts := confirm.Facts{{Name: "state", Value: d.State}, {Name: "workflow", Value: d.WorkflowID},
		{Name: "run", Value: d.RunID}}
	for _, m := range d.Transactions {
		if len(d.Transactions) > 1 {
			facts = append(facts, confirm.Fact{Name: "transaction " + m.ID, Value: string(m.State)})
			continue
		}
		facts = append(facts, confirm.Fact{Name: "resolution", Value: m.Resolution.String()})
		if m.State == workflows.Parked {
			facts = append(facts, confirm.Fact{Name: "reason", Value: m.Reason},
				confirm.Fact{Name: "check-backs", Value: strconv.Itoa(m.Checks) + " answered, " +
					strconv.Itoa(m.Unreached) + " not"})
		}
	}
	return facts
}

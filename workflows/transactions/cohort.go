package transactions

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/activities"
	"github.com/holdfastmq/holdfast/workflows"
)

// maxCohortBytes is the limit on the messages of one cohort together, in bytes of
// JSON.
const maxCohortBytes = 512 << 10

// keyAllowance is what is kept free, in bytes of JSON, for a business key that the
// local transaction is to make.
const keyAllowance = 16

// CohortLoad is what the members of a cohort add up to. The zero value is that of
// an empty one.
type CohortLoad struct {
	ShortIDs bool // as the Input's

	members, bytes, keys int
	topics               []string
}

// With returns the load with one member more. It may count a little more than
// what is stored, never less.
func (l CohortLoad) With(tx activities.Tx) CohortLoad {
	l.members++
	l.keys += workflows.JSONLength(findableID(tx.ID, l.ShortIDs)) + 1
	for _, m := range tx.Messages {
		l.bytes += messageLength(m)
		if m.Key == "" {
			l.keys += keyAllowance
		} else {
			l.keys += workflows.JSONLength(m.Key) + 1
		}
		if !slices.Contains(l.topics, m.Topic) {
			l.topics = append(slices.Clip(l.topics), m.Topic)
			l.keys += workflows.JSONLength(m.Topic) + 1
		}
	}
	return l
}

// Fits reports whether so much may share a workflow; one member always does.
func (l CohortLoad) Fits() bool {
	return l.members <= 1 || l.bytes <= maxCohortBytes && l.keys <= maxKeys
}

// messageLength is at least the length of m in JSON, for any text but the most
// contrived.
func messageLength(m holdfast.Message) int {
	n := 120 + len(m.Body)/3*4 + 8 + workflows.JSONLength(m.ID) + workflows.JSONLength(m.Topic) +
		workflows.JSONLength(m.Key) + workflows.JSONLength(m.ContentType)
	for _, p := range [...]string{m.Type, m.CorrelationID, m.CausationID, m.ContentEncoding, m.ReplyTo, m.AppID} {
		if p != "" {
			n += 24 + workflows.JSONLength(p)
		}
	}
	if m.Priority > 0 || m.TTL > 0 {
		n += 48
	}
	for name, value := range m.Headers { //workflowcheck:ignore
		n += workflows.JSONLength(name) + workflows.JSONLength(value) + 2
	}
	return n
}

// CohortStartOptions are the options with which the workflow of a cohort is
// started; workflowID is a [CohortWorkflowID].
func CohortStartOptions(workflowID string, in Input) client.StartWorkflowOptions {
	txs := in.Transactions
	o := StartOptions(in.Prefix, in.Group, txs[0])
	o.ID, o.Memo = workflowID, nil
	o.StaticSummary = workflows.Shorten(fmt.Sprintf("cohort of %d transactions: %s", len(txs), countedTopics(txs)))
	o.StaticDetails = cohortDetails(workflowID, in.Group, txs)
	o.TypedSearchAttributes = temporal.NewSearchAttributes(
		temporal.NewSearchAttributeKeyKeyword(workflows.AttributeTopic).ValueSet(txs[0].Messages[0].Topic),
		workflows.SetKeys(cohortKeys(txs, in.ShortIDs)))
	return o
}

// cohortKeys are what finds the members of a cohort: their IDs, their keys and,
// where they differ, their topics; as many as Temporal takes.
func cohortKeys(txs []activities.Tx, shortIDs bool) []string {
	var values, topics []string
	for _, tx := range txs {
		values = append(values, findableID(tx.ID, shortIDs))
	}
	for _, tx := range txs {
		for _, m := range tx.Messages {
			values = append(values, m.Key)
			topics = append(topics, m.Topic)
		}
	}
	slices.Sort(topics)
	if topics = slices.Compact(topics); len(topics) > 1 {
		values = append(values, topics...)
	}
	return findableOf(values)
}

func findableID(id string, short bool) string {
	if short {
		return workflows.FindableID(id)
	}
	return id
}

func cohortDetails(workflowID, group string, txs []activities.Tx) string {
	return fmt.Sprintf("%d transactions of producer group `%s` that were sent at the same moment share this workflow: "+
		"%s.\n\n"+
		"Each is decided by itself. One that does not end at once goes on in a workflow of its own, `%s` and its ID, "+
		"which is linked below. "+
		"The result says how each ended.", len(txs), group, countedTopics(txs), ownIDs(workflowID, group))
}

// ownIDs is what the IDs of the workflows begin with to which the members of a shared
// one leave.
func ownIDs(workflowID, group string) string {
	id, _ := workflows.ParseID(workflowID)
	return workflows.WorkflowID(id.Prefix, group, "")
}

// countedTopics names the topics of the first messages of txs, the most frequent
// first, each with its number.
func countedTopics(txs []activities.Tx) string {
	type counted struct {
		topic string
		n     int
	}
	var topics []counted
	for _, tx := range txs {
		topic := tx.Messages[0].Topic
		i := slices.IndexFunc(topics, func(c counted) bool { return c.topic == topic })
		if i < 0 {
			i = len(topics)
			topics = append(topics, counted{topic: topic})
		}
		topics[i].n++
	}
	slices.SortStableFunc(topics, func(a, b counted) int { return b.n - a.n })
	names := make([]string, len(topics))
	for i, c := range topics {
		names[i] = fmt.Sprintf("%s (%d)", c.topic, c.n)
	}
	if len(names) == 1 {
		return topics[0].topic
	}
	return strings.Join(firstFew(names), ", ")
}

// cohortStatus counts how members ended, or where they stand.
func cohortStatus(members []MemberStatus) string {
	var parts []string
	for _, s := range []workflows.State{workflows.Committed, workflows.RolledBack, workflows.Refused, workflows.Left,
		workflows.Parked, workflows.Delivering, workflows.Checking, workflows.Running, workflows.Sending} {
		n := 0
		for _, m := range members {
			if m.State == s {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("%d transactions: %s", len(members), strings.Join(parts, ", "))
}

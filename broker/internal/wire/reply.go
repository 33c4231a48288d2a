package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/stepend"
)

// MaxSagaResult limits the result in a participant's reply, in bytes of JSON.
const MaxSagaResult = 512 << 10

// SagaReply is a participant's answer to a [SagaCall].
type SagaReply = stepend.Reply

const (
	replySuffix = ".reply"
	// MaxReplyRecord leaves room around a result for the rest.
	MaxReplyRecord = MaxSagaResult + 64<<10
)

// replyRecord is a reply's body.
type replyRecord struct {
	V int `json:"v"`
	SagaReply
}

func knownReply(outcome stepend.Kind) bool {
	return slices.Contains([]stepend.Kind{stepend.Done, stepend.Refused, stepend.Failed, stepend.Blocked}, outcome)
}

// EncodeReply makes the record of a participant's reply to a call.
func EncodeReply(c *SagaCall, r SagaReply) (amqp.Publishing, error) {
	r.Saga, r.Workflow, r.Step, r.Undo, r.Token, r.Topic = c.Saga, c.Workflow, c.Step, c.Undo, c.Token, c.Topic
	r.Reason, r.Participant = PlainText(r.Reason, MaxReason), NameText(r.Participant)
	if !knownReply(r.Outcome) {
		return amqp.Publishing{}, fmt.Errorf("%w: its outcome is %q: want %s, %s, %s or %s", holdfast.ErrInvalid,
			Clip(string(r.Outcome), 64), stepend.Done, stepend.Refused, stepend.Failed, stepend.Blocked)
	}
	if len(r.Result) > MaxSagaResult {
		return amqp.Publishing{}, fmt.Errorf("%w: the result has %d bytes of JSON, the limit is %d: store large "+
			"data elsewhere and answer with a reference", holdfast.ErrTooLarge, len(r.Result), MaxSagaResult)
	}
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false) // it would make a result longer
	if err := e.Encode(replyRecord{1, r}); err != nil {
		return amqp.Publishing{}, fmt.Errorf("%w: its result is no JSON: %w", holdfast.ErrInvalid, err)
	}
	id := c.MessageID()
	headers := amqp.Table{HeaderKind: kindReply, HeaderVersion: Version, HeaderSaga: c.Saga}
	if t := r.Trace.Bounded(); t.Parent != "" {
		headers[holdfast.HeaderTraceParent] = t.Parent
		if t.State != "" {
			headers[holdfast.HeaderTraceState] = t.State
		}
	}
	return amqp.Publishing{
		Headers:   headers,
		MessageId: id + replySuffix, CorrelationId: id, ContentType: contentJSON, Body: body.Bytes(),
	}, nil
}

// Replied says why a reply does not count, if it did not come through the exchange
// for replies, to the queue of a process at first perhaps.
// Where signatures are required, it needs one, too.
func (t Trust) Replied(d *amqp.Delivery) error {
	switch from := t.Origin(d); {
	case from == FromReplies || t.Rolling && (from == FromDefault || from == FromDropped):
		return t.signedReply(d)
	case from == FromDropped:
		if last, ok := lastDeath(t.Prefix, d); ok && IsReplyQueue(t.Prefix, last.queue) &&
			last.exchange == t.Prefix+RepliesName {
			return t.signedReply(d)
		}
	}
	return Malformed("reply to a saga: it did not come through the exchange %s: a participant of an older version "+
		"wrote it, or anybody; the saga asks again; while such participants run, set RollingUpgrade",
		t.Prefix+RepliesName)
}

// signedReply says why a reply's signature does not count; what it commands is removed then.
func (t Trust) signedReply(d *amqp.Delivery) error {
	why := t.genuine(d)
	if why != nil {
		refuse(d, kindReply, why, describes)
	}
	return why
}

// traceOf is the place in a trace that a record's headers name.
func traceOf(headers amqp.Table) holdfast.Trace {
	return holdfast.Trace{Parent: HeaderText(headers[holdfast.HeaderTraceParent]),
		State: HeaderText(headers[holdfast.HeaderTraceState])}.Bounded()
}

// DecodeReply reads a participant's reply; only its body counts, and for traces the headers
// traceparent and tracestate.
func DecodeReply(d *amqp.Delivery) (SagaReply, error) {
	var r replyRecord
	if len(d.Body) > MaxReplyRecord {
		return r.SagaReply, Malformed("reply to a saga: %d bytes, the limit is %d", len(d.Body), MaxReplyRecord)
	}
	if err := json.Unmarshal(d.Body, &r); err != nil {
		return SagaReply{}, Malformed("reply to a saga: %w", err)
	}
	switch {
	case r.V != 1:
		return SagaReply{}, Malformed("reply to a saga with \"v\":%d, this program reads 1", r.V)
	case !plainID(r.Saga, maxSagaID) || !plainID(r.Workflow, maxSagaID) || !plainID(r.Step, MaxText):
		return SagaReply{}, Malformed("reply to a saga: want saga, workflow and step as in the call, it says "+
			"%q, %q, %q", Clip(r.Saga, 128), Clip(r.Workflow, 128), Clip(r.Step, 128))
	case len(r.Token) > MaxText || len(r.Topic) > MaxText:
		return SagaReply{}, Malformed("reply to a saga: token of %d bytes, topic of %d bytes, the limit is %d",
			len(r.Token), len(r.Topic), MaxText)
	case !knownReply(r.Outcome):
		return SagaReply{}, Malformed("reply to a saga: outcome %q: want %s, %s, %s or %s", Clip(string(r.Outcome), 64),
			stepend.Done, stepend.Refused, stepend.Failed, stepend.Blocked)
	case len(r.Result) > MaxSagaResult:
		return SagaReply{}, Malformed("reply to a saga: a result of %d bytes, the limit is %d", len(r.Result),
			MaxSagaResult)
	}
	if r.Class != "" {
		r.Class = knownClass(string(r.Class))
	}
	if string(r.Result) == "null" {
		r.Result = nil
	}
	r.Reason, r.Participant = PlainText(r.Reason, MaxReason), NameText(r.Participant)
	r.Trace = traceOf(d.Headers)
	return r.SagaReply, nil
}

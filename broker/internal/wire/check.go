package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

const (
	// MaxCheckTxs and MaxCheckBody limit one request: transactions, and bytes of
	// JSON. A single transaction may be longer.
	MaxCheckTxs  = 200
	MaxCheckBody = 512 << 10
	// MaxCheckReply limits an answer, in bytes.
	MaxCheckReply = 4 << 20
)

// maxCheckError is how much of an answer's error text is kept, in bytes.
const maxCheckError = 2 << 10

// ErrUnreached means that nobody answered a check-back over RabbitMQ.
var ErrUnreached = errors.New("holdfast: the check-back was not answered")

// CheckTx is a transaction that is asked about.
type CheckTx struct {
	// ID is the transaction's ID.
	ID string
	// Messages are its messages, as they are in the half message.
	Messages []holdfast.Message
	// Database is the identity of the database that the transaction was begun in;
	// empty where nobody said.
	Database string
}

// CheckAnswer is what is known of one transaction.
type CheckAnswer struct {
	// Resolution is Unknown wherever Err is set.
	Resolution holdfast.Resolution
	// Messages are the messages to deliver, where the local transaction changed
	// them; empty means as they were.
	Messages []holdfast.Message
	// Err says why nobody knows. It wraps [ErrUnreached] where nobody answered, or
	// a process whose database is not the transaction's,
	// and [holdfast.ErrMalformed] where the answer is not what the wire format
	// says.
	Err error
}

type checkRequest struct {
	V            int               `json:"v"`
	Group        string            `json:"group"`
	Transactions []json.RawMessage `json:"transactions"`
}

type checkItem struct {
	Tx       string             `json:"tx"`
	Messages []holdfast.Message `json:"messages"`
	Database string             `json:"database,omitempty"`
}

// checkReply is an answer. What is wrong with one transaction in it is no harm to
// the others.
type checkReply struct {
	V       int                                     `json:"v"`
	Answers boundedList[json.RawMessage, ofAnswers] `json:"answers"`
}

type checkReplyItem struct {
	Resolution holdfast.Resolution `json:"resolution"`
	Messages   MessageList         `json:"messages"`
	Error      string              `json:"error"`
	// Elsewhere says that the process's database is not the transaction's.
	Elsewhere bool `json:"elsewhere"`
}

// checkPart is a request about n transactions, from the index from on.
type checkPart struct {
	From, N int
	Body    []byte
}

// EncodeChecks distributes txs over requests.
func EncodeChecks(group string, txs []CheckTx) []checkPart {
	var out []checkPart
	var items []json.RawMessage
	from, size := 0, 0
	flush := func(next int) {
		if len(items) > 0 {
			out = append(out, checkPart{from, len(items),
				mustJSON(checkRequest{V: 1, Group: group, Transactions: items})})
		}
		items, from, size = nil, next, 0
	}
	for i, tx := range txs {
		item := mustJSON(checkItem{tx.ID, tx.Messages, tx.Database})
		if len(items) == MaxCheckTxs || size+len(item) > MaxCheckBody {
			flush(i)
		}
		items, size = append(items, item), size+len(item)
	}
	flush(len(txs))
	return out
}

// EncodeCheck is a request's record.
func EncodeCheck(group string, body []byte) amqp.Publishing {
	return amqp.Publishing{Headers: amqp.Table{HeaderKind: kindCheck, HeaderVersion: Version, HeaderGroup: group},
		ContentType: contentJSON, Body: body}
}

// mustJSON encodes texts, which always succeeds.
func mustJSON(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}

// DecodeChecks reads the answer to a request about txs into out.
func DecodeChecks(body []byte, txs []CheckTx, maxBody int, out []CheckAnswer) {
	found, err := SplitChecks(body)
	for i, tx := range txs {
		switch answers := found[tx.ID]; {
		case err != nil:
			out[i].Err = err
		case len(answers) == 0:
			out[i].Err = Malformed("the answer to a check-back says nothing about transaction %s", tx.ID)
		case len(answers) > 1:
			out[i].Err = Malformed("the answer to a check-back has %d answers about transaction %s", len(answers),
				tx.ID)
		default:
			out[i] = decodeCheck(answers[0], tx, maxBody)
		}
	}
}

// SplitChecks returns the answers by transaction. Those that name none are
// skipped.
func SplitChecks(body []byte) (map[string][]json.RawMessage, error) {
	if len(body) > MaxCheckReply {
		return nil, Malformed("answer to a check-back of %d bytes, the limit is %d", len(body), MaxCheckReply)
	}
	var r checkReply
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, Malformed("answer to a check-back: %w", err)
	}
	if r.V != 1 {
		return nil, Malformed("answer to a check-back with \"v\":%d, this program reads 1", r.V)
	}
	found := map[string][]json.RawMessage{}
	for _, raw := range r.Answers {
		var name struct {
			Tx string `json:"tx"`
		}
		if json.Unmarshal(raw, &name) == nil && name.Tx != "" {
			found[name.Tx] = append(found[name.Tx], raw)
		}
	}
	return found, nil
}

func decodeCheck(raw json.RawMessage, tx CheckTx, maxBody int) CheckAnswer {
	var item checkReplyItem
	if err := json.Unmarshal(raw, &item); err != nil {
		return CheckAnswer{Err: Malformed("answer about transaction %s: %w", tx.ID, err)}
	}
	switch item.Resolution {
	case holdfast.Unknown:
		if item.Error == "" {
			item.Error = "the group's process does not know, and does not say why"
		}
		if item.Elsewhere {
			return CheckAnswer{Err: fmt.Errorf("%w by a process that knows: %s", ErrUnreached,
				Clip(item.Error, maxCheckError))}
		}
		return CheckAnswer{Err: errors.New(Clip(item.Error, maxCheckError))}
	case holdfast.Rollback:
		return CheckAnswer{Resolution: holdfast.Rollback}
	}
	ms, err := changedMessages(item.Messages, tx.Messages, maxBody)
	if err != nil {
		return CheckAnswer{Err: Malformed("answer about transaction %s: %w", tx.ID, err)}
	}
	return CheckAnswer{Resolution: holdfast.Commit, Messages: ms}
}

// changedMessages checks what an answer wants delivered instead of was; nil where
// that is the same. IDs may be left out; they, topics and what may be unrouted do
// not change.
func changedMessages(ms, was []holdfast.Message, maxBody int) ([]holdfast.Message, error) {
	if len(ms) == 0 {
		return nil, nil
	}
	if len(ms) != len(was) {
		return nil, fmt.Errorf("it has %d messages, the half message has %d", len(ms), len(was))
	}
	for i := range ms {
		m, w := &ms[i], was[i]
		if m.ID == "" {
			m.ID = w.ID
		}
		m.AllowUnrouted = w.AllowUnrouted
		if m.ID != w.ID || m.Topic != w.Topic {
			return nil, fmt.Errorf("message %d is %q to %q, in the half message it is %q to %q: IDs and topics may "+
				"not change", i+1,
				Clip(m.ID, 128), Clip(m.Topic, 256), w.ID, w.Topic)
		}
	}
	if err := holdfast.ValidateMessages(ms, maxBody); err != nil {
		return nil, err
	}
	if slices.EqualFunc(ms, was, holdfast.Message.Equal) {
		return nil, nil
	}
	return ms, nil
}

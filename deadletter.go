package holdfast

import (
	"encoding/json"
	"fmt"
	"time"
)

// DeadLetter is a delivery that its consumer gave up, or that RabbitMQ dropped:
// the message, how it came to this, and all that is needed to deliver it again.
type DeadLetter struct {
	// ID is the message's ID, or, where it has none that can be used, a hash of
	// what it holds.
	ID string `json:"id"`
	// Copy tells letters of one ID apart: of messages with other content, or of one that
	// died again after the first letter was settled. Empty: the first one.
	Copy string `json:"copy,omitempty"`
	// Queue is the queue that it died in.
	Queue string `json:"queue"`
	// Message is the message as its consumer gets it. Of a malformed one, what
	// can be read of it; Body holds the raw bytes.
	Message Message `json:"message"`
	// TxID and Group are the transaction it belongs to and that one's producer
	// group; both are empty if a foreign publisher sent it.
	TxID  string `json:"tx,omitempty"`
	Group string `json:"group,omitempty"`
	// Failure says how the consumer failed.
	Failure Failure `json:"failure"`
	// Policy is what its consumer wants done with its dead letters.
	Policy Policy `json:"policy,omitzero"`
	// Envelope is what the message was wrapped in.
	Envelope Envelope `json:"envelope,omitzero"`
	// Kept is the queue that has the whole message, where it is too large for a
	// workflow; Message.Body is its beginning then. Empty: Message is whole.
	Kept string `json:"kept,omitempty"`
	// Size is the body's length in bytes, also where Message.Body is cut.
	Size int `json:"size"`
}

// Envelope is what AMQP says about a message beside what [Message] holds.
type Envelope struct {
	Exchange        string            `json:"exchange,omitempty"`
	RoutingKey      string            `json:"routing_key,omitempty"`
	MessageID       string            `json:"message_id,omitempty"`
	ContentEncoding string            `json:"content_encoding,omitempty"`
	CorrelationID   string            `json:"correlation_id,omitempty"`
	ReplyTo         string            `json:"reply_to,omitempty"`
	Type            string            `json:"type,omitempty"`
	AppID           string            `json:"app_id,omitempty"`
	Priority        uint8             `json:"priority,omitempty"`
	Timestamp       time.Time         `json:"timestamp,omitzero"`
	Headers         map[string]string `json:"headers,omitempty"` // all of them but those of its retries and its death
}

// PolicyAction is what happens to a dead letter by itself.
type PolicyAction string

// The actions.
const (
	// PolicyWait waits for an operator. It is the default.
	PolicyWait PolicyAction = ""
	// PolicyCompensate compensates at once.
	PolicyCompensate PolicyAction = "compensate"
	// PolicyCompensatePermanent compensates at once what failed with a
	// [Permanent] error, and waits for an operator with anything else.
	PolicyCompensatePermanent PolicyAction = "compensate-permanent"
	// PolicyRedeliver delivers again after each of Policy.Redeliver's delays,
	// then waits for an operator.
	PolicyRedeliver PolicyAction = "redeliver"
)

// Policy says what happens to the dead letters of a consumer. The zero value:
// each waits for an operator. An operator can act at any time, whatever the
// policy.
type Policy struct {
	// Action is what happens by itself.
	Action PolicyAction `json:"action,omitempty"`
	// Redeliver are the delays before the first redelivery, the second and so
	// on; PolicyRedeliver only, and at least one there.
	Redeliver []time.Duration `json:"redeliver,omitempty"`
	// AllowEdits lets operators deliver it again with another body.
	AllowEdits bool `json:"allow_edits,omitempty"`
}

// Validate says what is wrong with the policy.
func (p Policy) Validate() error {
	switch p.Action {
	case PolicyWait, PolicyCompensate, PolicyCompensatePermanent:
		if len(p.Redeliver) > 0 {
			return fmt.Errorf("%w: policy %q has delays for redeliveries: set Action to PolicyRedeliver", ErrInvalid, p.Action)
		}
	case PolicyRedeliver:
		if len(p.Redeliver) == 0 || len(p.Redeliver) > 100 {
			return fmt.Errorf("%w: policy %q with %d delays: want 1 to 100", ErrInvalid, p.Action, len(p.Redeliver))
		}
	default:
		return fmt.Errorf("%w: policy %q: want compensate, compensate-permanent, redeliver, or none to wait",
			ErrInvalid, p.Action)
	}
	for _, d := range p.Redeliver {
		if d < time.Second {
			return fmt.Errorf("%w: policy %q: a delay of %v: want at least 1s", ErrInvalid, p.Action, d)
		}
	}
	return nil
}

// ParsePolicy reads what [Policy.String] wrote; empty text is the zero value.
func ParsePolicy(text string) (p Policy, err error) {
	if text == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return Policy{}, fmt.Errorf("%w: policy %.100q: %w", ErrMalformed, text, err)
	}
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	return p, nil
}

// String writes the policy as JSON; the zero value as nothing.
func (p Policy) String() string {
	if p.Action == PolicyWait && !p.AllowEdits {
		return ""
	}
	text, _ := json.Marshal(p) // strings, numbers and a bool
	return string(text)
}

// CompensatedSuffix is what the topic of a compensation notice has after its
// message's topic.
const CompensatedSuffix = ".compensated"

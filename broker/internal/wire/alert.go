package wire

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// MaxAlert bounds an alert, in bytes.
const MaxAlert = 64 << 10

const maxAlertKind = 64

// EncodeAlert makes the record of an alert.
func EncodeAlert(a holdfast.Alert) (amqp.Publishing, error) {
	body, err := json.Marshal(a)
	if err != nil || len(body) > MaxAlert {
		return amqp.Publishing{}, fmt.Errorf("%w: alert %s of %s", holdfast.ErrTooLarge, a.Kind, a.ID)
	}
	return amqp.Publishing{Headers: amqp.Table{HeaderKind: KindAlert}, MessageId: uuid.NewString(),
		ContentType: contentJSON, Body: body}, nil
}

// DecodeAlert reads an alert. It counts if it came through the exchange of alerts, in the end
// out of a queue of alerts into which it came so, and is of whom its routing key says.
func (t Trust) DecodeAlert(d *amqp.Delivery) (a holdfast.Alert, err error) {
	via, key := d.Exchange, d.RoutingKey
	if moved(d.Headers) && via == t.Prefix+AlertsName {
		last, ok := lastDeath(t.Prefix, d)
		ours := strings.HasPrefix(last.queue, t.Prefix+AlertsName+".") ||
			strings.HasPrefix(last.queue, t.Prefix+HookName)
		if via, key = last.exchange, last.key; !ok || !ours {
			via = "queue " + last.queue
		}
	}
	switch {
	case via == "":
		return a, Malformed("it came through RabbitMQ's default exchange, and no alert does")
	case via != t.Prefix+AlertsName:
		return a, Malformed("it came through %s, and not through the exchange of alerts", Clip(via, 128))
	case len(d.Body) > MaxAlert:
		return a, Malformed("it has %d bytes, the limit is %d", len(d.Body), MaxAlert)
	}
	if t.Check != nil {
		if err := t.Check(via, key, d); err != nil {
			return a, t.forged(via, err)
		}
	}
	if err := json.Unmarshal(d.Body, &a); err != nil {
		return a, Malformed("it is no alert: %w", err)
	}
	a = plainAlert(a)
	kind, name, _ := strings.Cut(key, ".")
	switch {
	case a.Kind == "" || len(a.Kind) > maxAlertKind ||
		strings.Trim(string(a.Kind), "abcdefghijklmnopqrstuvwxyz-") != "":
		return a, Malformed("its kind %q is none of an alert", Clip(string(a.Kind), maxAlertKind))
	case kind == "consumer" && name != a.Consumer || kind == "group" && name != a.Group:
		return a, Malformed("it was sent to %s, and says that it is of group %q and consumer %q", Clip(key, 128),
			a.Group, a.Consumer)
	}
	return a, nil
}

// plainAlert leaves out of an alert's texts what could steer a terminal. IDs, keys and
// names lose no more than control characters, which none has: they are what people look
// for.
func plainAlert(a holdfast.Alert) holdfast.Alert {
	kind, class := string(a.Kind), string(a.Class)
	for _, text := range []*string{&kind, &class, &a.Group, &a.Consumer, &a.ID, &a.Topic, &a.Key, &a.WorkflowID,
		&a.Reason, &a.Remedy} {
		*text = PlainText(*text, MaxAlert)
	}
	a.Link = "" // who tells it knows the console; a sender could name any page
	a.Kind, a.Class = holdfast.AlertKind(kind), holdfast.ErrorClass(class)
	a.Reason, a.Remedy = strings.Map(onlyForward, a.Reason), strings.Map(onlyForward, a.Remedy)
	return a
}

// onlyForward drops what turns the direction of a text, or ends its line.
func onlyForward(r rune) rune {
	if unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
		return -1
	}
	return r
}

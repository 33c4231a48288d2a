package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
)

// The headers of the wire format; doc.go says what each is for.
const (
	headerPrefix   = holdfast.ReservedHeader
	headerKind     = "holdfast-kind"
	headerVersion  = "holdfast-version"
	headerTx       = "holdfast-tx"
	headerGroup    = "holdfast-group"
	headerKey      = "holdfast-key"
	headerLane     = "holdfast-lane" // of half records: express, or none
	headerTopic    = "holdfast-topic"
	headerDatabase = "holdfast-database" // of half records: the identity of the transaction's database
	headerUser     = "holdfast-header-"  // begins the name of a header that RabbitMQ would act on, or take for its own
	kindHalf       = "half"
	kindOp         = "op"
	version        = "1"
	contentJSON    = "application/json"
	maxOpRecord    = 1 << 20  // 10,000 IDs of 100 bytes
	halfOverhead   = 64 << 10 // JSON around the bodies of a half record, without headers
	perMessageJSON = 8 << 10
	maxIdentity    = 128 // bytes of a database's identity
)

type halfRecord struct {
	V        int         `json:"v"`
	Tx       string      `json:"tx"`
	Group    string      `json:"group"`
	At       time.Time   `json:"at"`
	Database string      `json:"database,omitempty"`
	Messages messageList `json:"messages"`
}

type opRecord struct {
	V        int      `json:"v"`
	Commit   []string `json:"commit,omitempty"`
	Rollback []string `json:"rollback,omitempty"`
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{holdfast.ErrMalformed}, args...)...)
}

func encodeHalf(h holdfast.Half) (amqp.Publishing, error) {
	body, err := json.Marshal(halfRecord{V: 1, Tx: h.TxID, Group: h.Group, At: h.At, Database: h.Database, Messages: h.Messages})
	if err != nil {
		return amqp.Publishing{}, fmt.Errorf("%w: encode the half message of %s: %w", holdfast.ErrInvalid, h.TxID, err)
	}
	headers := amqp.Table{headerKind: kindHalf, headerVersion: version, headerTx: h.TxID, headerGroup: h.Group}
	if h.Lane == holdfast.Express {
		headers[headerLane] = string(h.Lane)
	}
	if h.Database != "" {
		headers[headerDatabase] = h.Database
	}
	return amqp.Publishing{
		Headers:     headers,
		MessageId:   h.TxID,
		ContentType: contentJSON,
		Body:        body,
	}, nil
}

// maxHalfRecord is how long a half record may be when the bodies in it have
// maxBody bytes: base64 and the escapes of JSON make them longer.
func maxHalfRecord(maxBody int) int {
	return maxBody/2*3 + halfOverhead + holdfast.MaxMessages*perMessageJSON + 6*4*holdfast.MaxHeaders
}

// headOfHalf says whose half record of size bytes it is, by its headers alone.
func headOfHalf(headers amqp.Table, size int, group string, maxBody int) (tx string, err error) {
	if v := headerText(headers[headerVersion]); v != version {
		return "", malformed("half record of version %q, this program reads version %s: upgrade it", clip(v, 64), version)
	}
	if limit := maxHalfRecord(maxBody); size > limit {
		return "", malformed("half record of %d bytes, the limit is %d", size, limit)
	}
	if g := headerText(headers[headerGroup]); g != group {
		return "", malformed("half record of group %q in the half queue of %q", clip(g, 256), group)
	}
	tx = headerText(headers[headerTx])
	if err := validTx(tx); err != nil {
		return "", malformed("half record: %w", err)
	}
	return tx, nil
}

// decodeHalf reads a half record. group is whose half queue it was in.
func decodeHalf(headers amqp.Table, body []byte, group string, maxBody int) (holdfast.Half, error) {
	var none holdfast.Half
	if v := headerText(headers[headerVersion]); v != version {
		return none, malformed("half record of version %q, this program reads version %s: upgrade it", clip(v, 64), version)
	}
	if limit := maxHalfRecord(maxBody); len(body) > limit {
		return none, malformed("half record of %d bytes, the limit is %d", len(body), limit)
	}
	var r halfRecord
	if err := json.Unmarshal(body, &r); err != nil {
		return none, malformed("half record: %w", err)
	}
	if r.V != 1 {
		return none, malformed("half record with \"v\":%d, this program reads 1", r.V)
	}
	if tx := headerText(headers[headerTx]); r.Tx == "" || tx != r.Tx {
		return none, malformed("half record says transaction %q, its header says %q", clip(r.Tx, 128), clip(tx, 128))
	}
	if err := validTx(r.Tx); err != nil {
		return none, malformed("half record: %w", err)
	}
	if g := headerText(headers[headerGroup]); g != r.Group {
		return none, malformed("half record says group %q, its header says %q", clip(r.Group, 256), clip(g, 256))
	}
	if r.Group != group {
		return none, malformed("half record of group %q in the half queue of %q", clip(r.Group, 256), group)
	}
	if len(r.Database) > maxIdentity {
		return none, malformed("half record of transaction %s: the identity of its database has %d bytes, the limit is %d", r.Tx, len(r.Database), maxIdentity)
	}
	if err := holdfast.ValidateMessages(r.Messages, maxBody); err != nil {
		return none, malformed("half record of transaction %s: %w", r.Tx, err)
	}
	return holdfast.Half{TxID: r.Tx, Group: r.Group, At: r.At, Messages: r.Messages, Lane: laneOf(headers), Database: r.Database}, nil
}

// laneOf is a half record's lane. What is not known is Traced: its hand-over is
// right for every transaction.
func laneOf(headers amqp.Table) holdfast.Lane {
	if headerText(headers[headerLane]) == string(holdfast.Express) {
		return holdfast.Express
	}
	return holdfast.Traced
}

// validTx checks a transaction's ID by the rules of a message's.
func validTx(tx string) error {
	if tx == "" {
		return fmt.Errorf("%w: the transaction's ID is empty", holdfast.ErrInvalid)
	}
	return holdfast.Message{ID: tx, Topic: "x"}.Validate()
}

// encodeOps makes one record of r, or several where the IDs are too long for that.
func encodeOps(group string, r opRecord) []amqp.Publishing {
	msg := encodeOp(group, r)
	n := len(r.Commit) + len(r.Rollback)
	if len(msg.Body) <= maxOpRecord || n == 1 {
		return []amqp.Publishing{msg}
	}
	c, b := (len(r.Commit)+1)/2, len(r.Rollback)/2
	return append(encodeOps(group, opRecord{Commit: r.Commit[:c], Rollback: r.Rollback[:b]}),
		encodeOps(group, opRecord{Commit: r.Commit[c:], Rollback: r.Rollback[b:]})...)
}

func encodeOp(group string, r opRecord) amqp.Publishing {
	r.V = 1
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings always encode
	}
	return amqp.Publishing{
		Headers:     amqp.Table{headerKind: kindOp, headerVersion: version, headerGroup: group},
		ContentType: contentJSON,
		Body:        body,
	}
}

// decodeOp returns the transactions that an op record settles.
func decodeOp(headers amqp.Table, body []byte, group string) ([]string, error) {
	if v := headerText(headers[headerVersion]); v != version {
		return nil, malformed("op record of version %q, this program reads version %s: upgrade it", clip(v, 64), version)
	}
	if g := headerText(headers[headerGroup]); g != group {
		return nil, malformed("op record of group %q in the half queue of %q", clip(g, 256), group)
	}
	if len(body) > maxOpRecord {
		return nil, malformed("op record of %d bytes, the limit is %d", len(body), maxOpRecord)
	}
	var r opRecord
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, malformed("op record: %w", err)
	}
	if r.V != 1 {
		return nil, malformed("op record with \"v\":%d, this program reads 1", r.V)
	}
	txs := slices.Concat(r.Commit, r.Rollback)
	if len(txs) == 0 {
		return nil, malformed("op record names no transaction")
	}
	for _, tx := range txs {
		if err := validTx(tx); err != nil {
			return nil, malformed("op record: %w", err)
		}
	}
	return txs, nil
}

func encodeMessage(group, tx string, m holdfast.Message) amqp.Publishing {
	headers := make(amqp.Table, len(m.Headers)+5)
	for name, value := range m.Headers {
		headers[escapeHeader(name)] = value
	}
	headers[headerVersion], headers[headerTx], headers[headerGroup] = version, tx, group
	headers[headerTopic] = m.Topic
	if m.Key != "" {
		headers[headerKey] = m.Key
	}
	return amqp.Publishing{Headers: headers, ContentType: m.ContentType, MessageId: m.ID, Body: m.Body}
}

// escapeHeader renames the headers that RabbitMQ itself acts on, or writes: with CC and
// BCC a publish would go to further queues, or close the channel, and what it counts
// would not survive.
func escapeHeader(name string) string {
	if name == "CC" || name == "BCC" || brokersOwn(name) {
		return headerUser + name
	}
	return name
}

// decodeMessage reads a delivery, of Holdfast's or of a foreign publisher. The
// limits on topic, key and headers are not enforced: what is in a queue can no
// longer be refused.
func decodeMessage(d *amqp.Delivery) (m holdfast.Message, tx, group string, err error) {
	m = holdfast.Message{
		ID:          d.MessageId,
		Topic:       headerText(d.Headers[headerTopic]),
		Key:         headerText(d.Headers[headerKey]),
		ContentType: d.ContentType,
		Body:        d.Body,
	}
	tx, group = headerText(d.Headers[headerTx]), headerText(d.Headers[headerGroup])
	if m.Topic == "" {
		m.Topic = d.RoutingKey
		if first, retried := d.Headers[headerRoutingKey]; retried {
			m.Topic = headerText(first)
		}
	}
	for name, value := range d.Headers {
		if user, ok := strings.CutPrefix(name, headerUser); ok {
			name = user
		} else if strings.HasPrefix(strings.ToLower(name), holdfast.ReservedHeader) || brokersOwn(name) {
			continue
		}
		if m.Headers == nil {
			m.Headers = make(map[string]string, len(d.Headers))
		}
		m.Headers[name] = headerText(value)
	}
	switch v := headerText(d.Headers[headerVersion]); {
	case v != "" && v != version:
		return m, tx, group, malformed("message of version %q, this program reads version %s: upgrade it", clip(v, 64), version)
	case len(m.ID) > 255:
		return m, tx, group, malformed("the message's ID has %d bytes", len(m.ID))
	}
	return m, tx, group, nil
}

// storableID says why an ID cannot be written into an inbox row, which is what keeps
// the message's effect from happening twice; nil if it can.
func storableID(id string) error {
	switch {
	case id == "":
		return malformed("the message has no message-id, so that its effect could not be kept from happening twice: publish it with one, or take it with HandleAtLeastOnce")
	case !utf8.ValidString(id) || strings.ContainsRune(id, 0):
		return malformed("the message-id %.60q is not text: publish the message with one in UTF-8 without zero bytes, such as a UUID in its usual form, or take it with HandleAtLeastOnce", id)
	}
	return nil
}

// brokersOwn reports whether RabbitMQ adds a header of this name to deliveries.
func brokersOwn(name string) bool {
	return name == "x-delivery-count" || name == "x-acquired-count" || name == "x-death" ||
		strings.HasPrefix(name, "x-first-death-") || strings.HasPrefix(name, "x-last-death-")
}

// headerText turns a header's value into text: other AMQP clients write
// numbers, booleans, byte strings, times, arrays and tables.
func headerText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case amqp.Decimal:
		return decimalText(v)
	case []any, amqp.Table:
		if text, err := json.Marshal(plain(v)); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v)
}

func decimalText(d amqp.Decimal) string {
	s := strconv.FormatInt(int64(d.Value), 10)
	if d.Scale == 0 {
		return s
	}
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	scale := int(d.Scale)
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	return sign + s[:len(s)-scale] + "." + s[len(s)-scale:]
}

// plain makes of nested header values what encoding/json can write.
func plain(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case amqp.Table:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = plain(v[k])
		}
		return out
	case string, bool, nil, int8, int16, int32, int64, uint8, uint16, uint32, uint64, int, uint:
		return v
	}
	return headerText(v)
}

// clip shortens s to at most n bytes, at a character's boundary, and marks that.
func clip(s string, n int) string {
	const mark = "…"
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len(mark)], "") + mark
}

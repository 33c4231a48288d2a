package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
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

const (
	maxOpRecord    = 1 << 20  // 10,000 IDs of 100 bytes
	halfOverhead   = 64 << 10 // JSON around the bodies of a half record, without headers
	perMessageJSON = 8 << 10
	maxIdentity    = 128 // bytes of a database's identity
)

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

// halfOf reads the half message that a dead letter is.
func halfOf(prefix string, d *holdfast.DeadLetter, maxBody int) (holdfast.Half, error) {
	group := groupOf(prefix, d.Queue)
	if group == "" {
		group = d.Group
	}
	if d.Kept != "" {
		return holdfast.Half{}, malformed("the whole record is in the queue %s", d.Kept)
	}
	return decodeHalf(envelopeHeaders(&d.Envelope), d.Message.Body, group, maxBody)
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

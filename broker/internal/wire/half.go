package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	Messages MessageList `json:"messages,omitempty"`
	// Saga is that of a record of version sagaVersion.
	Saga *holdfast.SagaStart `json:"saga,omitempty"`
}

// sagaVersion is the version of a half record that is a saga's. A program that reads
// only Version must not take it for a transaction's, which would be rolled back.
const sagaVersion = "2"

// OpRecord is an op record's body: the transactions that it settles.
type OpRecord struct {
	V        int      `json:"v"`
	Commit   []string `json:"commit,omitempty"`
	Rollback []string `json:"rollback,omitempty"`
}

const (
	MaxOpRecord    = 1 << 20  // 10,000 IDs of 100 bytes
	halfOverhead   = 64 << 10 // JSON around the bodies of a half record, without headers
	perMessageJSON = 8 << 10
	MaxIdentity    = 128 // bytes of a database's identity
)

// Malformed is an error that wraps [holdfast.ErrMalformed].
func Malformed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{holdfast.ErrMalformed}, args...)...)
}

// EncodeHalf makes a half record.
func EncodeHalf(h holdfast.Half) (amqp.Publishing, error) {
	r := halfRecord{V: 1, Tx: h.TxID, Group: h.Group, At: h.At, Database: h.Database, Messages: h.Messages}
	version := Version
	if h.Saga != nil {
		r.V, r.Saga, version = 2, h.Saga, sagaVersion
	}
	body, err := json.Marshal(r)
	if err != nil {
		return amqp.Publishing{}, fmt.Errorf("%w: encode the half message of %s: %w", holdfast.ErrInvalid, h.TxID, err)
	}
	headers := amqp.Table{HeaderKind: KindHalf, HeaderVersion: version, HeaderTx: h.TxID, HeaderGroup: h.Group}
	if h.Lane == holdfast.Express {
		headers[HeaderLane] = string(h.Lane)
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

// MaxHalfRecord is how long a half record may be when the bodies in it have
// maxBody bytes: base64 and the escapes of JSON make them longer.
func MaxHalfRecord(maxBody int) int {
	return maxBody/2*3 + halfOverhead + holdfast.MaxMessages*perMessageJSON + 6*4*holdfast.MaxHeaders
}

// HeadOfHalf says whose half record of size bytes it is, by its headers alone.
func HeadOfHalf(headers amqp.Table, size int, group string, maxBody int) (tx string, err error) {
	if _, err := halfVersion(headers); err != nil {
		return "", err
	}
	if limit := MaxHalfRecord(maxBody); size > limit {
		return "", Malformed("half record of %d bytes, the limit is %d", size, limit)
	}
	if g := HeaderText(headers[HeaderGroup]); g != group {
		return "", Malformed("half record of group %q in the half queue of %q", Clip(g, 256), group)
	}
	tx = HeaderText(headers[HeaderTx])
	if err := ValidTx(tx); err != nil {
		return "", Malformed("half record: %w", err)
	}
	return tx, nil
}

// DecodeHalf reads a half record. group is whose half queue it was in.
func DecodeHalf(headers amqp.Table, body []byte, group string, maxBody int) (holdfast.Half, error) {
	var none holdfast.Half
	version, err := halfVersion(headers)
	if err != nil {
		return none, err
	}
	if limit := MaxHalfRecord(maxBody); len(body) > limit {
		return none, Malformed("half record of %d bytes, the limit is %d", len(body), limit)
	}
	var r halfRecord
	if err := json.Unmarshal(body, &r); err != nil {
		return none, Malformed("half record: %w", err)
	}
	if r.V != version {
		return none, Malformed("half record with \"v\":%d, its header says %d", r.V, version)
	}
	if tx := HeaderText(headers[HeaderTx]); r.Tx == "" || tx != r.Tx {
		return none, Malformed("half record says transaction %q, its header says %q", Clip(r.Tx, 128), Clip(tx, 128))
	}
	if err := ValidTx(r.Tx); err != nil {
		return none, Malformed("half record: %w", err)
	}
	if g := HeaderText(headers[HeaderGroup]); g != r.Group {
		return none, Malformed("half record says group %q, its header says %q", Clip(r.Group, 256), Clip(g, 256))
	}
	if r.Group != group {
		return none, Malformed("half record of group %q in the half queue of %q", Clip(r.Group, 256), group)
	}
	if len(r.Database) > MaxIdentity {
		return none, Malformed("half record of transaction %s: the identity of its database has %d bytes, the "+
			"limit is %d", r.Tx, len(r.Database), MaxIdentity)
	}
	if r.Saga != nil {
		r.Saga.Trace = r.Saga.Trace.Bounded() // it goes into a row, and into a workflow
	}
	h := holdfast.Half{TxID: r.Tx, Group: r.Group, At: r.At, Messages: r.Messages, Lane: LaneOf(headers),
		Database: r.Database, Saga: r.Saga}
	if err := ValidHalf(&h, maxBody); err != nil {
		return none, Malformed("half record of transaction %s: %w", r.Tx, err)
	}
	if (h.Saga != nil) != (version == 2) {
		return none, Malformed("half record of transaction %s, version %d: a saga in it: %t", r.Tx, version, h.Saga != nil)
	}
	return h, nil
}

// IsSaga reports whether a half record is a saga's, by its headers.
func IsSaga(headers amqp.Table) bool {
	return HeaderText(headers[HeaderVersion]) == sagaVersion && HeaderText(headers[HeaderKind]) == KindHalf
}

// halfVersion is the version of a half record, by its headers.
func halfVersion(headers amqp.Table) (int, error) {
	switch v := HeaderText(headers[HeaderVersion]); v {
	case Version:
		return 1, nil
	case sagaVersion:
		return 2, nil
	case manyVersion:
		return 0, errOfMany(headers)
	default:
		return 0, Malformed("half record of version %q, this program reads versions %s to %s: upgrade it", Clip(v, 64),
			Version, manyVersion)
	}
}

// ValidHalf checks what a half message holds: messages, or a saga.
func ValidHalf(h *holdfast.Half, maxBody int) error {
	if h.Saga == nil {
		return holdfast.ValidateMessages(h.Messages, maxBody)
	}
	if len(h.Messages) > 0 {
		return fmt.Errorf("%w: a half message of saga %s has messages", holdfast.ErrInvalid, h.Saga.Name)
	}
	return h.Saga.Validate()
}

// LaneOf is a half record's lane. What is not known is Traced: its hand-over is
// right for every transaction.
func LaneOf(headers amqp.Table) holdfast.Lane {
	if HeaderText(headers[HeaderLane]) == string(holdfast.Express) {
		return holdfast.Express
	}
	return holdfast.Traced
}

// HalfOf reads the half message that a dead letter is.
func HalfOf(prefix string, d *holdfast.DeadLetter, maxBody int) (holdfast.Half, error) {
	group := GroupOf(prefix, d.Queue)
	if group == "" {
		group = d.Group
	}
	if d.Kept != "" {
		return holdfast.Half{}, Malformed("the whole record is in the queue %s", d.Kept)
	}
	return DecodeHalf(EnvelopeHeaders(&d.Envelope), d.Message.Body, group, maxBody)
}

// EncodeOps makes one record of r, or several where the IDs are too long for that.
func EncodeOps(group string, r OpRecord) []amqp.Publishing {
	msg := EncodeOp(group, r)
	n := len(r.Commit) + len(r.Rollback)
	if len(msg.Body) <= MaxOpRecord || n == 1 {
		return []amqp.Publishing{msg}
	}
	c, b := (len(r.Commit)+1)/2, len(r.Rollback)/2
	return append(EncodeOps(group, OpRecord{Commit: r.Commit[:c], Rollback: r.Rollback[:b]}),
		EncodeOps(group, OpRecord{Commit: r.Commit[c:], Rollback: r.Rollback[b:]})...)
}

// EncodeOp makes an op record.
func EncodeOp(group string, r OpRecord) amqp.Publishing {
	r.V = 1
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings always encode
	}
	return amqp.Publishing{
		Headers:     amqp.Table{HeaderKind: KindOp, HeaderVersion: Version, HeaderGroup: group},
		ContentType: contentJSON,
		Body:        body,
	}
}

// DecodeOp returns the transactions that an op record settles.
func DecodeOp(headers amqp.Table, body []byte, group string) ([]string, error) {
	if v := HeaderText(headers[HeaderVersion]); v != Version {
		return nil, Malformed("op record of version %q, this program reads version %s: upgrade it", Clip(v, 64),
			Version)
	}
	if g := HeaderText(headers[HeaderGroup]); g != group {
		return nil, Malformed("op record of group %q in the half queue of %q", Clip(g, 256), group)
	}
	if len(body) > MaxOpRecord {
		return nil, Malformed("op record of %d bytes, the limit is %d", len(body), MaxOpRecord)
	}
	var r OpRecord
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, Malformed("op record: %w", err)
	}
	if r.V != 1 {
		return nil, Malformed("op record with \"v\":%d, this program reads 1", r.V)
	}
	txs := slices.Concat(r.Commit, r.Rollback)
	if len(txs) == 0 {
		return nil, Malformed("op record names no transaction")
	}
	for _, tx := range txs {
		if err := ValidTx(tx); err != nil {
			return nil, Malformed("op record: %w", err)
		}
	}
	return txs, nil
}

// A half record of many has the half messages of several transactions of one process: one line
// each, which is the body that a record of its own would have. The transactions stand in a header,
// so that the Keeper need not read the lines of those that an op record settles.

// manyVersion is the version of a half record of many. A program that does not know it takes
// the record for malformed, and sets it aside whole.
const manyVersion = "3"

const (
	// MaxHalves is how many half messages one record has at most.
	MaxHalves = 64
	// MaxHalvesRecord is how long a record of many may be.
	MaxHalvesRecord = 1 << 20
	// maxHalvesIDs is how long the IDs in its header may be together.
	maxHalvesIDs = 4 << 10
	// contentLines is a body of one JSON text in each line.
	contentLines = "application/x-ndjson"
)

// EncodeHalves makes a record of many of half records, which have one group, lane and database.
func EncodeHalves(records []amqp.Publishing) amqp.Publishing {
	first := &records[0]
	ids, size := make([]string, len(records)), 0
	for i := range records {
		ids[i] = HeaderText(records[i].Headers[HeaderTx])
		size += len(records[i].Body) + 1
	}
	body := make([]byte, 0, size)
	for i := range records {
		if i > 0 {
			body = append(body, '\n')
		}
		body = append(body, records[i].Body...)
	}
	headers := amqp.Table{HeaderKind: KindHalf, HeaderVersion: manyVersion, headerTxs: strings.Join(ids, " ")}
	takeShared(headers, first.Headers)
	return amqp.Publishing{Headers: headers, MessageId: ids[0] + "~" + strconv.Itoa(len(ids)-1),
		ContentType: contentLines, Body: body}
}

// SharesWith says with which others a half record may be in a record of many. None may of a saga.
func SharesWith(headers amqp.Table) (with string, may bool) {
	if HeaderText(headers[HeaderVersion]) != Version {
		return "", false
	}
	return HeaderText(headers[HeaderGroup]) + " " + HeaderText(headers[HeaderLane]) + " " +
		HeaderText(headers[headerDatabase]), true
}

// IsHalves reports whether a record is a half record of many, by its headers.
func IsHalves(headers amqp.Table) bool {
	return HeaderText(headers[HeaderVersion]) == manyVersion && HeaderText(headers[HeaderKind]) == KindHalf
}

// SplitHalves says of which transactions a record of many is, and what the half record of each
// would be. The lines are parts of body; they are not read. group is whose half queue it was in.
func SplitHalves(headers amqp.Table, body []byte, group string) (txs []string, lines [][]byte, err error) {
	if len(body) > MaxHalvesRecord {
		return nil, nil, Malformed("half record of many, %d bytes, the limit is %d", len(body), MaxHalvesRecord)
	}
	if g := HeaderText(headers[HeaderGroup]); g != group {
		return nil, nil, Malformed("half record of group %q in the half queue of %q", Clip(g, 256), group)
	}
	list := HeaderText(headers[headerTxs])
	if len(list) > maxHalvesIDs {
		return nil, nil, Malformed("half record of many: its header %s has %d bytes, the limit is %d", headerTxs, len(list),
			maxHalvesIDs)
	}
	txs = strings.Split(list, " ")
	if len(txs) > MaxHalves {
		return nil, nil, Malformed("half record of %d transactions, the limit is %d", len(txs), MaxHalves)
	}
	for _, tx := range txs {
		if err := ValidTx(tx); err != nil {
			return nil, nil, Malformed("half record of many: %w", err)
		}
	}
	if n := bytes.Count(body, []byte("\n")) + 1; n != len(txs) {
		return nil, nil, Malformed("half record of many: its header names %d transactions, its body has %d lines",
			len(txs), n)
	}
	return txs, bytes.Split(body, []byte("\n")), nil
}

// HalfAlone is what the delivery of a record of many would be, if the transaction tx had a record of
// its own, with this body.
func HalfAlone(d *amqp.Delivery, tx string, body []byte) *amqp.Delivery {
	alone := *d
	alone.Headers = amqp.Table{HeaderKind: KindHalf, HeaderVersion: Version, HeaderTx: tx}
	takeShared(alone.Headers, d.Headers)
	alone.MessageId, alone.ContentType, alone.Body = tx, contentJSON, body
	return &alone
}

// takeShared takes the headers that a record of many has in common with those of its transactions.
func takeShared(to, from amqp.Table) {
	to[HeaderGroup] = from[HeaderGroup]
	for _, name := range []string{HeaderLane, headerDatabase} {
		if v, ok := from[name]; ok {
			to[name] = v
		}
	}
}

// errOfMany is why a record of many is no one transaction's half message.
func errOfMany(headers amqp.Table) error {
	n := strings.Count(HeaderText(headers[headerTxs]), " ") + 1
	return Malformed("it has the half messages of %d transactions: redeliver it, and the group's Keeper settles each "+
		"by itself", n)
}

// MayShare reports whether half records of this many transactions, IDs of ids bytes together and
// bodies of size, may be one record.
func MayShare(n, ids, size int) bool {
	return n <= MaxHalves && ids+n <= maxHalvesIDs && size+n <= MaxHalvesRecord
}

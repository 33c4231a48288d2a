// Package orders has the order that all competitors place: its row, its message and
// the transaction that goes with it. It imports no other room.
package orders

import (
	"context"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Order is the row that every competitor's database transaction inserts.
type Order struct {
	ID        int64
	Number    string `gorm:"size:64;not null"`
	Customer  string `gorm:"size:64;not null"`
	Cents     int64  `gorm:"not null"`
	CreatedAt time.Time
}

func (Order) TableName() string { return "bench_orders" }

// BodySize is the length of a message's body in bytes.
const BodySize = 256

// Body is the message of an order. It is cheap to make, so that it does not weigh
// in what is measured.
func Body(number string) []byte { return bodyOf(number, BodySize) }

// bodyOf is the same in another size, which is 100 at least.
func bodyOf(number string, size int) []byte {
	const before, between, after = `{"number":"`, `","customer":"c-1042","cents":129900,"note":"`, `"}`
	b := make([]byte, 0, size)
	b = append(append(append(b, before...), number...), between...)
	for len(b) < size-len(after) {
		b = append(b, 'n')
	}
	return append(b, after...)
}

// newMessage is the message of a new order, without an ID.
func newMessage(topic string) holdfast.Message { return NewMessageOf(topic, BodySize) }

// NewMessageOf is newMessage with a body of a size.
func NewMessageOf(topic string, size int) holdfast.Message {
	m := NewMessageFor(topic, uuid.NewString())
	if size != BodySize {
		m.Body = bodyOf(m.Key, size)
	}
	return m
}

// NewMessageFor is the message of the order of that number.
func NewMessageFor(topic, number string) holdfast.Message {
	return holdfast.Message{Topic: topic, Key: number, ContentType: "application/json", Body: Body(number)}
}

// NewTransaction is a new transaction's ID and message.
func NewTransaction(topic string) (id string, ms []holdfast.Message) {
	return NewTransactionOf(topic, BodySize)
}

// NewTransactionOf is NewTransaction with a body of a size.
func NewTransactionOf(topic string, size int) (id string, ms []holdfast.Message) {
	id = uuid.Must(uuid.NewV7()).String()
	ms = []holdfast.Message{NewMessageOf(topic, size)}
	holdfast.NumberMessages(id, ms)
	return id, ms
}

// Insert is the work of the local transaction.
func Insert(tx *gorm.DB, number string) error {
	return tx.Create(&Order{Number: number, Customer: "c-1042", Cents: 129900}).Error
}

// InsertAlone is Insert in a transaction of its own.
func InsertAlone(ctx context.Context, db *gorm.DB, number string) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return Insert(tx, number) })
}

// NumberIn reads an order's number from its message, as Body wrote it; there is
// none in a message of somebody else's.
func NumberIn(b []byte) string {
	const before, length = len(`{"number":"`), 36
	if len(b) < before+length {
		return ""
	}
	return string(b[before : before+length])
}

package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// order is the row that every competitor's database transaction inserts.
type order struct {
	ID        int64
	Number    string `gorm:"size:64;not null"`
	Customer  string `gorm:"size:64;not null"`
	Cents     int64  `gorm:"not null"`
	CreatedAt time.Time
}

func (order) TableName() string { return "bench_orders" }

// bodySize is the length of a message's body in bytes.
const bodySize = 256

// body is the message of an order. It is cheap to make, so that it does not weigh
// in what is measured.
func body(number string) []byte { return bodyOf(number, bodySize) }

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
func newMessage(topic string) holdfast.Message { return newMessageOf(topic, bodySize) }

func newMessageOf(topic string, size int) holdfast.Message {
	m := newMessageFor(topic, uuid.NewString())
	if size != bodySize {
		m.Body = bodyOf(m.Key, size)
	}
	return m
}

// newMessageFor is the message of the order of that number.
func newMessageFor(topic, number string) holdfast.Message {
	return holdfast.Message{Topic: topic, Key: number, ContentType: "application/json", Body: body(number)}
}

// newTransaction is a new transaction's ID and message.
func newTransaction(topic string) (id string, ms []holdfast.Message) {
	return newTransactionOf(topic, bodySize)
}

func newTransactionOf(topic string, size int) (id string, ms []holdfast.Message) {
	id = uuid.Must(uuid.NewV7()).String()
	ms = []holdfast.Message{newMessageOf(topic, size)}
	holdfast.NumberMessages(id, ms)
	return id, ms
}

// insert is the work of the local transaction.
func insert(tx *gorm.DB, number string) error {
	return tx.Create(&order{Number: number, Customer: "c-1042", Cents: 129900}).Error
}

// insertAlone is insert in a transaction of its own.
func insertAlone(ctx context.Context, db *gorm.DB, number string) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error { return insert(tx, number) })
}

// numberIn reads an order's number from its message, as body wrote it; there is
// none in a message of somebody else's.
func numberIn(b []byte) string {
	const before, length = len(`{"number":"`), 36
	if len(b) < before+length {
		return ""
	}
	return string(b[before : before+length])
}

package main

import holdfast "github.com/holdfastmq/holdfast"

// Order is what is ordered: a row of the order service, the message order.placed,
// and the state of the saga order-payment, whose messages carry it.
type Order struct {
	ID     string `json:"id" gorm:"primaryKey"`
	Number int64  `json:"number" gorm:"autoIncrement"`
	Item   string `json:"item"`
	Amount int64  `json:"amount" gorm:"check:amount > 0"` // in cents
	State  string `json:"state,omitempty"`                // one of those below
	// Tracking is what shipping says, once it has shipped.
	Tracking string `json:"tracking,omitempty" gorm:"-"`
}

// The states of an order. Those of one that was placed with a transactional
// message are placed and, where it was given back, a Refund.
const (
	statePlaced    = "placed"
	statePending   = "pending"
	stateConfirmed = "confirmed"
	stateCancelled = "cancelled"
)

// Refund is an order that was given back.
type Refund struct {
	ID      int64 `gorm:"primaryKey"`
	OrderID string
	Because string
}

// Gift is a gift that a partner's system grants: its truth is not in our
// database.
type Gift struct {
	ID string `json:"id"`
}

// The topics that the services share.
var (
	OrderPlaced = holdfast.Topic[Order]{Name: "order.placed"}
	GiftGranted = holdfast.Topic[Gift]{Name: "gift.granted"}
)

// The topics of the saga's messages; each carries the Order.
const (
	stockReserve   = "stock.reserve"
	stockRelease   = "stock.release"
	paymentCharge  = "payment.charge"
	paymentRefund  = "payment.refund"
	shippingCreate = "shipping.create"
	shippingRecall = "shipping.recall"
)

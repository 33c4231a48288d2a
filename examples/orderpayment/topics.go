package main

import holdfast "github.com/holdfastmq/holdfast"

// Order is what is ordered.
type Order struct {
	ID     string `json:"id" gorm:"primaryKey"`
	Number int64  `json:"number" gorm:"autoIncrement"`
	Item   string `json:"item"`
	Amount int64  `json:"amount" gorm:"check:amount > 0"` // in cents
}

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

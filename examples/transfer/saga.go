package main

import "github.com/holdfastmq/holdfast/saga"

// Transfer is the state of the saga, and what its messages carry.
type Transfer struct {
	ID     string `json:"id"`
	From   string `json:"from"` // an account of the bank in the east
	To     string `json:"to"`   // an account of the bank in the west
	Amount int64  `json:"amount"`
}

// MoneyTransfer takes the money first: it is better nowhere for a second than in
// two places.
//
// The deposit has an Undo although nothing comes after it: where its answer is
// lost for good, nobody knows whether it took effect. Its Undo then takes the money
// back if it did, and keeps it from taking effect later if it did not.
var MoneyTransfer = saga.Saga[Transfer]{
	Name: "money-transfer",
	Key:  func(t Transfer) string { return t.ID }, // asked for twice, it is done once
	Steps: []saga.Step[Transfer]{
		saga.Message("withdraw", "east.withdraw", "east.give-back"),
		saga.Message("deposit", "west.deposit", "west.take-back"),
	},
}

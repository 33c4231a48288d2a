package saga_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/saga"
)

// Trip is the state of the saga of these examples.
type Trip struct {
	ID      string
	Days    int
	Hotel   string
	Premium bool
}

func bookFlight(_ context.Context, tx *gorm.DB, t *Trip) error {
	return tx.Exec("INSERT INTO flights (trip) VALUES (?)", t.ID).Error
}

func cancelFlight(_ context.Context, tx *gorm.DB, t *Trip) error {
	return tx.Exec("DELETE FROM flights WHERE trip = ?", t.ID).Error
}

// A saga is a value: a name, a state's type, and steps, each with what undoes it.
func ExampleSaga() {
	trip := saga.Saga[Trip]{
		Name: "trip",
		Key:  func(t Trip) string { return t.ID },
		Steps: []saga.Step[Trip]{
			saga.Local("book-flight", bookFlight, cancelFlight),
			saga.Message("book-hotel", "hotel.book", "hotel.cancel").
				Receive(saga.Into(func(t *Trip, booking string) error { t.Hotel = booking; return nil })),
			saga.Wait("approval", 48*time.Hour).When(saga.If(func(t Trip) bool { return t.Premium })),
			saga.Message("charge", "card.charge", "card.refund").AsPivot(),
			saga.Message("send-tickets", "mail.send", ""),
		},
	}
	c, err := trip.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range c.Plan.Steps {
		fmt.Println(s.Name, s.Kind, s.OnFailure)
	}
	// Output:
	// book-flight local backward
	// book-hotel message backward
	// approval wait backward
	// charge message backward
	// send-tickets message forward
}

// What is wrong with a definition is said when it is registered, all of it, by
// step.
func ExampleSaga_Compile() {
	_, err := saga.Saga[Trip]{
		Name: "trip",
		Steps: []saga.Step[Trip]{
			saga.Local("book-flight", bookFlight, nil),
			saga.Message("charge", "card.charge", "card.refund").AsPivot(),
			saga.Message("charge", "card.charge", "card.refund").Backward(),
		},
	}.Compile()
	fmt.Println(err)
	// Output:
	// holdfast: invalid: saga trip, step book-flight: it has no Undo, and a later failure, or its own, would have to undo it: give it one, or say NoUndo, or put it after the pivot
	// holdfast: invalid: saga trip, step charge: two steps have this name: give each its own, since the step rows are kept by it
	// holdfast: invalid: saga trip, step charge: it goes backward on failure, but comes after the pivot charge, after which there is no way back: make it Forward or Park, or move the pivot behind it
}

// Steps at once, a branch of several, and a choice by the state.
func ExampleParallel() {
	trip := saga.Saga[Trip]{
		Name: "trip",
		Steps: []saga.Step[Trip]{
			saga.Parallel("book",
				saga.Local("book-flight", bookFlight, cancelFlight),
				saga.Sequence("stay",
					saga.Message("find-hotel", "hotel.find", "").NoUndo(),
					saga.Message("book-hotel", "hotel.book", "hotel.cancel"),
				),
			),
			saga.Choose("insurance", saga.Pick(func(t Trip) string {
				if t.Days > 30 {
					return "long"
				}
				return "short"
			}),
				saga.Case("long", saga.Message("insure-long", "insurance.long", "insurance.cancel")),
				saga.Otherwise(saga.Message("insure", "insurance.short", "insurance.cancel")),
			),
		},
	}
	c, err := trip.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	label, err := c.Pick("insurance", json.RawMessage(`{"Days":40}`))
	fmt.Println(label, err)
	// Output: long <nil>
}

// What a message carries, and what becomes of its answer.
func ExampleFrom() {
	type booking struct{ Nights int }
	trip := saga.Saga[Trip]{
		Name: "trip",
		Steps: []saga.Step[Trip]{
			saga.Message("book-hotel", "hotel.book", "hotel.cancel").
				Send(saga.From(func(t Trip) booking { return booking{Nights: t.Days - 1} })).
				Receive(saga.Into(func(t *Trip, hotel string) error {
					if hotel == "" {
						return saga.Refuse("no hotel would take them")
					}
					t.Hotel = hotel
					return nil
				})),
		},
	}
	c, err := trip.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	state := json.RawMessage(`{"ID":"T-1","Days":8}`)
	body, _ := c.Send("book-hotel", state)
	fmt.Println(string(body))
	patch, _ := c.Receive("book-hotel", state, json.RawMessage(`"Ritz"`))
	fmt.Println(string(patch))
	_, err = c.Receive("book-hotel", state, json.RawMessage(`""`))
	fmt.Println(err)
	// Output:
	// {"Nights":7}
	// {"Hotel":"Ritz"}
	// refused: no hotel would take them
}

func ExampleSaga_Mermaid() {
	diagram, err := saga.Saga[Trip]{
		Name: "trip",
		Steps: []saga.Step[Trip]{
			saga.Local("book-flight", bookFlight, cancelFlight),
			saga.Message("charge", "card.charge", "card.refund").AsPivot(),
		},
	}.Mermaid()
	fmt.Println(diagram, err)
	// Output:
	// flowchart TD
	//     start(["trip, version 1"])
	//     n1["book-flight"]
	//     start --> n1
	//     n2>"charge<br/>message card.charge<br/>PIVOT"]:::pivot
	//     n1 --> n2
	//     n2 --> completed
	//     completed(["completed"])
	//     n3["undo charge<br/>message card.refund"]:::undo
	//     n2 -.->|"undo"| n3
	//     n4["undo book-flight"]:::undo
	//     n1 -.->|"undo"| n4
	//     n3 -.-> n4
	//     n4 -.-> compensated
	//     compensated(["compensated"])
	//     classDef pivot stroke-width:4px
	//     classDef undo stroke-dasharray:4 4
	//  <nil>
}

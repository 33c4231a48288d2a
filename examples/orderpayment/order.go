package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// orders is the order service.
type orders struct {
	w    *worker.Worker
	db   *gorm.DB
	saga saga.Saga[Order]
}

// place stores o and tells the world, or neither.
func (s *orders) place(ctx context.Context, o Order) (holdfast.Receipt, error) {
	return worker.SendValue(ctx, s.w, OrderPlaced, o.ID, o,
		func(ctx context.Context, tx *gorm.DB, m *holdfast.Message) error {
			o.State = statePlaced
			if err := tx.Create(&o).Error; err != nil {
				return err
			}
			return OrderPlaced.Encode(m, o) // the number is known only now
		})
}

// refund gives an order back: a consumer of order.placed has failed for good.
func refund(_ context.Context, tx *gorm.DB, o Order, _ holdfast.Message, f holdfast.Failure) error {
	return tx.Create(&Refund{OrderID: o.ID, Because: f.Consumer + ": " + f.Reason}).Error
}

func (s *orders) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.post)
	s.checkouts(mux)
	s.unruly(mux)
	return mux
}

func (s *orders) post(rw http.ResponseWriter, r *http.Request) {
	var o Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, err := s.place(r.Context(), o)
	respond(rw, receipt, err)
}

// respond tells a client what became of its transaction. An undecided one is
// accepted: it ends as the database says.
func respond(rw http.ResponseWriter, receipt holdfast.Receipt, err error) {
	a := struct {
		holdfast.Receipt
		Error string `json:"error,omitempty"`
	}{Receipt: receipt}
	status := http.StatusCreated
	switch {
	case err == nil:
	case errors.Is(err, holdfast.ErrUndecided), errors.Is(err, holdfast.ErrDeliveryPending):
		status = http.StatusAccepted
	case errors.Is(err, holdfast.ErrRolledBack):
		status = http.StatusUnprocessableEntity
	default:
		status = statusOf(err)
	}
	if err != nil {
		a.Error = err.Error()
	}
	answer(rw, status, a)
}

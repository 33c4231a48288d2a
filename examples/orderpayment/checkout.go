package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/worker"
)

// checkoutWait is how long a client may wait for the end of a checkout.
const checkoutWait = time.Minute

// checkouts are the HTTP side of the saga.
//
//	POST /checkouts             starts it, or joins the one that the order has already
//	GET  /checkouts/ID          waits for its end, or until it needs somebody
//	POST /checkouts/ID/approve  answers its wait for approval
func (s *orders) checkouts(mux *http.ServeMux) {
	mux.HandleFunc("POST /checkouts", s.checkOut)
	mux.HandleFunc("GET /checkouts/{id}", s.checkedOut)
	mux.HandleFunc("POST /checkouts/{id}/approve", s.approve)
}

// checkout is what a client learns of its checkout.
type checkout struct {
	Saga   string `json:"saga"`
	State  string `json:"state"` // pending, completed, compensated, parked or compensation-failed
	Step   string `json:"step,omitempty"`
	Reason string `json:"reason,omitempty"`
	Order  Order  `json:"order,omitzero"`
}

func (s *orders) checkOut(rw http.ResponseWriter, r *http.Request) {
	var o Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if o.ID == "" || o.Amount <= 0 {
		http.Error(rw, "an order needs an id and an amount", http.StatusBadRequest)
		return
	}
	handle, err := worker.StartSaga(r.Context(), s.w, s.saga, Order{ID: o.ID, Item: o.Item, Amount: o.Amount})
	if err != nil {
		http.Error(rw, err.Error(), statusOf(err))
		return
	}
	answer(rw, http.StatusAccepted, checkout{Saga: handle.ID(), State: "pending"})
}

func (s *orders) checkedOut(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkoutWait)
	defer cancel()
	handle := worker.JoinSaga(s.w, s.saga, r.PathValue("id"))
	o, err := handle.Wait(ctx)
	c := checkout{Saga: handle.ID(), State: "completed", Order: o}
	var unfinished *holdfast.SagaError
	switch {
	case err == nil:
	case errors.As(err, &unfinished):
		c.State, c.Step, c.Reason = standing(err), unfinished.Step, unfinished.Reason
	default:
		http.Error(rw, err.Error(), statusOf(err))
		return
	}
	answer(rw, http.StatusOK, c)
}

func standing(err error) string {
	switch {
	case errors.Is(err, holdfast.ErrSagaCompensated):
		return "compensated"
	case errors.Is(err, holdfast.ErrSagaParked):
		return "parked"
	case errors.Is(err, holdfast.ErrSagaCompensationFailed):
		return "compensation-failed"
	}
	return "pending"
}

func (s *orders) approve(rw http.ResponseWriter, r *http.Request) {
	handle := worker.JoinSaga(s.w, s.saga, r.PathValue("id"))
	err := handle.Approve(r.Context(), stepApprove, nil, worker.By{Operator: r.URL.Query().Get("by"), Reason: "looked at"})
	if err != nil {
		http.Error(rw, err.Error(), statusOf(err))
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// statusOf is the HTTP status of an error of Holdfast.
func statusOf(err error) int {
	switch {
	case errors.Is(err, holdfast.ErrInvalid), errors.Is(err, holdfast.ErrTooLarge), errors.Is(err, holdfast.ErrDuplicate):
		return http.StatusBadRequest
	case errors.Is(err, holdfast.ErrNotFound):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

func answer(rw http.ResponseWriter, status int, v any) {
	rw.Header().Set("Content-Type", "application/json")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(v) // the client may be gone
}

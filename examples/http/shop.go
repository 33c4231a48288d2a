package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
	"gorm.io/gorm"
)

// Order is a row of the shop's database, and the state of its saga.
type Order struct {
	ID     string `gorm:"primaryKey" json:"id"`
	Amount int64  `json:"amount"`
	State  string `json:"state"`
}

// Approved is an order that a person has to approve.
var Approved = saga.Saga[Order]{
	Name: "approved-order",
	Key:  func(o Order) string { return o.ID },
	Steps: []saga.Step[Order]{
		saga.Local("create-order", set("pending"), set("cancelled")),
		saga.Wait("approve", 48*time.Hour),
		saga.Local("confirm-order", set("confirmed"), nil).NoUndo(),
	},
}

// set is a step that writes the order in a state.
func set(state string) func(context.Context, *gorm.DB, *Order) error {
	return func(_ context.Context, tx *gorm.DB, o *Order) error {
		o.State = state
		return tx.Save(o).Error
	}
}

// shop has what the handlers need.
type shop struct{ w *worker.Worker }

func newShop(w *worker.Worker) *shop {
	w.Saga(Approved)
	return &shop{w}
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", s.place)
	mux.HandleFunc("GET /orders/{id}", s.ask)
	mux.HandleFunc("POST /orders/{id}/approval", s.approve)
	mux.HandleFunc("DELETE /orders/{id}", s.cancel)
	return mux
}

// place starts an order's saga. The client's Idempotency-Key is its key: the same
// request again joins the saga that is there.
func (s *shop) place(rw http.ResponseWriter, r *http.Request) {
	var o Order
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 64<<10)).Decode(&o); err != nil || o.Amount <= 0 {
		http.Error(rw, "want an amount, in JSON", http.StatusBadRequest)
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		http.Error(rw, "want an Idempotency-Key", http.StatusBadRequest)
		return
	}
	// Only what the client said: what is made anew for each call, such as the time,
	// would make the second request another order.
	if _, err := worker.StartSaga(r.Context(), s.w, Approved, Order{ID: key, Amount: o.Amount}); err != nil {
		fail(rw, err)
		return
	}
	rw.Header().Set("Location", "/orders/"+url.PathEscape(key))
	rw.WriteHeader(http.StatusAccepted)
}

// ask says how an order's saga stands, and does not wait.
func (s *shop) ask(rw http.ResponseWriter, r *http.Request) {
	standing, err := worker.JoinSaga(s.w, Approved, r.PathValue("id")).State(r.Context())
	if err != nil {
		fail(rw, err)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(map[string]string{ // the client may be gone
		"state": standing.State, "waits_for": standing.WaitsFor, "reason": standing.Reason,
	})
}

// approve answers the step that waits for a person.
func (s *shop) approve(rw http.ResponseWriter, r *http.Request) {
	var a struct {
		By, Reason string
		Refuse     bool
	}
	if err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, 64<<10)).Decode(&a); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	handle, by := worker.JoinSaga(s.w, Approved, r.PathValue("id")), worker.By{Operator: a.By, Reason: a.Reason}
	var err error
	if a.Refuse {
		err = handle.Refuse(r.Context(), "approve", by)
	} else {
		err = handle.Approve(r.Context(), "approve", nil, by)
	}
	if err != nil {
		fail(rw, err)
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// cancel has the saga go back, whatever it is doing. The Undos run after the answer.
func (s *shop) cancel(rw http.ResponseWriter, r *http.Request) {
	handle := worker.JoinSaga(s.w, Approved, r.PathValue("id"))
	standing, err := handle.State(r.Context())
	if err == nil && standing.State == holdfast.SagaCompleted {
		http.Error(rw, "too late to cancel", http.StatusConflict)
		return
	}
	if err == nil {
		err = handle.Compensate(r.Context(), worker.By{Operator: "shop", Reason: "the customer withdrew"})
	}
	if err != nil {
		fail(rw, err)
		return
	}
	rw.WriteHeader(http.StatusAccepted)
}

// fail answers with the status that fits an error.
func fail(rw http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable // try again later
	switch {
	case errors.Is(err, holdfast.ErrInvalid), errors.Is(err, holdfast.ErrTooLarge):
		status = http.StatusBadRequest
	case errors.Is(err, holdfast.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, holdfast.ErrDuplicate), errors.Is(err, holdfast.ErrAnswered): // the key, or the answer
		status = http.StatusConflict
	}
	http.Error(rw, err.Error(), status)
}

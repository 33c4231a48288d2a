package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"sync"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/fault"
)

// insideHandler is the demo's own instant to die at: the payment is inserted,
// its transaction still open.
const insideHandler = "payment.inside-handler"

// armFaults makes this process kill itself at the instant that
// HOLDFAST_FAULT names.
func armFaults() {
	if at := os.Getenv("HOLDFAST_FAULT"); at != "" {
		fault.KillAt(at)
	}
}

func misbehave(at string) { fault.Point(at) }

// partner is the system that grants gifts. It never knows.
type partner struct{}

func (partner) Check(context.Context, holdfast.Message) (holdfast.Resolution, error) {
	return holdfast.Unknown, errors.New("the partner's system does not know")
}

// unruly adds ways for a client to leave transactions open.
//
//	POST /held-orders          begins, writes the order, and holds the transaction open
//	POST /held-orders/ID/end   commits it, and forgets to tell Holdfast
//	POST /gifts                begins, and never comes back
func (s *orders) unruly(mux *http.ServeMux) {
	held := &heldOrders{orders: s, open: map[string]*gorm.DB{}}
	mux.HandleFunc("POST /held-orders", held.begin)
	mux.HandleFunc("POST /held-orders/{id}/end", held.end)
	mux.HandleFunc("POST /gifts", s.gift)
}

type heldOrders struct {
	*orders
	mu   sync.Mutex
	open map[string]*gorm.DB // by order ID
}

func (h *heldOrders) begin(rw http.ResponseWriter, r *http.Request) {
	var o Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, err := h.hold(context.WithoutCancel(r.Context()), o)
	respond(rw, receipt, err)
}

func (h *heldOrders) hold(ctx context.Context, o Order) (holdfast.Receipt, error) {
	m, err := OrderPlaced.Message(o.ID, o)
	if err != nil {
		return holdfast.Receipt{}, err
	}
	split, err := h.w.Begin(ctx, 0, m)
	if err != nil {
		return holdfast.Receipt{}, err
	}
	tx := h.db.WithContext(ctx).Begin()
	if _, err := split.Barrier(ctx, tx); err != nil {
		return split.Receipt(), errors.Join(err, tx.Rollback().Error)
	}
	o.State = statePlaced
	if err := tx.Create(&o).Error; err != nil {
		return split.Receipt(), errors.Join(err, tx.Rollback().Error)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[o.ID] = tx
	return split.Receipt(), nil
}

func (h *heldOrders) end(rw http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	tx := h.open[r.PathValue("id")]
	delete(h.open, r.PathValue("id"))
	h.mu.Unlock()
	if tx == nil {
		http.Error(rw, "no such order is held open", http.StatusNotFound)
		return
	}
	if err := tx.Commit().Error; err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
	}
}

func (s *orders) gift(rw http.ResponseWriter, r *http.Request) {
	var g Gift
	if err := json.NewDecoder(r.Body).Decode(&g); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	m, err := GiftGranted.Message(g.ID, g)
	if err != nil {
		respond(rw, holdfast.Receipt{}, err)
		return
	}
	split, err := s.w.Begin(r.Context(), 0, m)
	if err != nil {
		respond(rw, holdfast.Receipt{}, err)
		return
	}
	respond(rw, split.Receipt(), nil)
}

var _ holdfast.Checker = partner{}

package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// goodsLeft counts the goods that nobody has reserved.
const goodsLeft = `SELECT coalesce(sum("left"), 0) FROM items`

// auditTimeout bounds the wait for consumers that are behind.
const auditTimeout = 30 * time.Second

// ledger is what the four databases hold about an order.
type ledger struct {
	state              string // of the order; empty: there is none
	orders, refunds    int
	reserved, released int
	paid, refunded     int
	shipped, recalled  int
}

// ledgers reads those of all orders, by order ID.
func (s *stage) ledgers(ctx context.Context) (map[string]*ledger, error) {
	all := map[string]*ledger{}
	read := func(h *house, query string, note func(l *ledger, what string)) error {
		rows, err := h.db.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var id, what string
			if err := rows.Scan(&id, &what); err != nil {
				return err
			}
			if all[id] == nil {
				all[id] = &ledger{}
			}
			note(all[id], what)
		}
		return rows.Err()
	}
	either := func(yes, no func(*ledger) *int) func(*ledger, string) {
		return func(l *ledger, what string) {
			if what == "true" {
				*yes(l)++
			} else {
				*no(l)++
			}
		}
	}
	return all, errors.Join(
		read(s.order, "SELECT id, state FROM orders", func(l *ledger, state string) { l.orders++; l.state = state }),
		read(s.order, "SELECT order_id, because FROM refunds", func(l *ledger, _ string) { l.refunds++ }),
		read(s.stock, "SELECT order_id, released::text FROM reservations",
			either(func(l *ledger) *int { return &l.released }, func(l *ledger) *int { return &l.reserved })),
		read(s.payment, "SELECT order_id, refunded::text FROM payments",
			either(func(l *ledger) *int { return &l.refunded }, func(l *ledger) *int { return &l.paid })),
		read(s.shipping, "SELECT order_id, recalled::text FROM shipments",
			either(func(l *ledger) *int { return &l.recalled }, func(l *ledger) *int { return &l.shipped })),
	)
}

// ledger reads that of one order.
func (s *stage) ledger(ctx context.Context, orderID string) (ledger, error) {
	all, err := s.ledgers(ctx)
	if err != nil || all[orderID] == nil {
		return ledger{}, err
	}
	return *all[orderID], nil
}

// String leaves out what there is none of.
func (l ledger) String() string {
	if l.orders == 0 {
		l.state = "missing"
	}
	out := []string{"order " + l.state}
	for _, x := range []struct {
		n    int
		what string
	}{
		{l.reserved, "reserved"}, {l.released, "released"}, {l.paid, "paid"}, {l.refunded, "refunded"},
		{l.shipped, "shipped"}, {l.recalled, "recalled"}, {l.refunds, "given back"},
	} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(out, ", ")
}

// right reports whether it is what must be true of an order at the end.
func (l ledger) right() bool {
	if l.orders != 1 {
		return false // something was done for an order that is not there
	}
	switch l.state {
	case "placed": // paid and its goods reserved, or given back and its goods released
		return l.paid+l.refunds == 1 && l.reserved == l.paid && l.released == l.refunds &&
			l.refunded+l.shipped+l.recalled == 0
	case "confirmed":
		return l.reserved == 1 && l.paid == 1 && l.shipped == 1 && l.released+l.refunded+l.recalled+l.refunds == 0
	case "cancelled":
		return l.reserved+l.paid+l.shipped+l.refunds == 0 && l.released <= 1 && l.refunded <= 1 && l.recalled <= 1
	}
	return false
}

// audit compares the four databases as a whole: every order is paid and has its
// goods, or costs nothing and has none, and no goods were lost.
func (s *stage) audit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	ends := map[string]int{}
	err := until(ctx, "the books to be right", func() (bool, error) {
		clear(ends)
		all, err := s.ledgers(ctx)
		if err != nil {
			return false, err
		}
		var errs []error
		reserved := 0
		for id, l := range all {
			if !l.right() {
				errs = append(errs, fmt.Errorf("order %s: %v", id, l))
			}
			ends[l.state]++
			reserved += l.reserved
		}
		left, err := count(ctx, s.stock.db, goodsLeft)
		if left+reserved != s.goods {
			errs = append(errs, fmt.Errorf("%d goods on the shelves and %d reserved: there were %d", left, reserved, s.goods))
		}
		err = errors.Join(append(errs, err)...)
		return err == nil, err
	})
	s.say("audit: %d orders were placed, %d confirmed, %d cancelled", ends["placed"], ends["confirmed"], ends["cancelled"])
	return err
}

package demo

import (
	"context"
	"fmt"
	"strings"
)

// queueFull has the stock service's queue at its limit while orders come in: nobody
// reads it. They are placed and paid as ever; once the service runs again, it has
// what was held for it.
func queueFull(ctx context.Context, s *stage) (string, error) {
	const orders = 8
	policy := "full-" + s.prefix
	limit := func(n int) error {
		_, err := s.stack.RabbitMQTool(ctx, "rabbitmqctl", "set_policy",
			policy, "^"+s.prefix+`\.q\.stock$`, fmt.Sprintf(`{"max-length":%d}`, n), "--apply-to", "queues")
		return err
	}
	if err := limit(2); err != nil {
		return "", err
	}
	defer func() { // the first error is the one to know
		_, _ = s.stack.RabbitMQTool(context.WithoutCancel(ctx), "rabbitmqctl", "clear_policy", policy)
	}()
	s.stock.stop()
	s.say("the stock service does not run, and its queue takes 2 messages")
	placed, err := s.placeOrders(ctx, orders)
	if err != nil {
		return "", err
	}
	paid, err := s.countPaid(ctx, placed)
	if err != nil {
		return "", err
	}
	found, err := s.finding(ctx, "the full queue", func(f finding) bool {
		return strings.Contains(f.Detail, s.prefix+".q.stock") && strings.Contains(f.Detail, "refuses")
	})
	if err != nil {
		return "", err
	}
	s.say("holdfast doctor: %s", found.Detail)
	if err := limit(1_000_000); err != nil { // raised, and not removed: see docs/runbook/full-queue.md
		return "", err
	}
	if err := s.start(ctx, s.stock, ""); err != nil {
		return "", err
	}
	reserved := 0
	for _, id := range placed {
		err := until(ctx, "the goods of "+id, func() (bool, error) {
			n, err := count(ctx, s.stock.db, "SELECT count(*) FROM reservations WHERE order_id = $1", id)
			return n > 0, err
		})
		if err != nil {
			return "", err
		}
		reserved++
	}
	return fmt.Sprintf("%d of %d orders paid once while it was full; %d reserved", paid, orders, reserved), nil
}

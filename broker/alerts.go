package broker

import (
	"context"
	"strings"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/alerts"
	"github.com/holdfastmq/holdfast/broker/internal/link"
)

// AlertTaker takes the alerts of a [Hook].
type AlertTaker = alerts.Taker

// ErrAlertsDenied means that this user may not raise alerts, or not take them, or that
// what that needs is not there and is not his to make.
var ErrAlertsDenied = alerts.ErrDenied

// PublishAlert hands an alert to a process that takes the alerts of one of keys, the
// first that some process takes, or took within the last minutes; it returns that key once
// RabbitMQ has stored it. Where there is none, an error wraps [holdfast.ErrUnroutable];
// where this user may not, [ErrAlertsDenied].
func (b *Broker) PublishAlert(ctx context.Context, a holdfast.Alert, keys ...string) (key string, err error) {
	return alerts.Publish(ctx, b.c, b.topo, a, keys...)
}

// KeepAlert keeps an alert for whoever comes that has somebody to tell. The last 10,000
// are kept.
func (b *Broker) KeepAlert(ctx context.Context, a holdfast.Alert) error {
	return alerts.Keep(ctx, b.c, b.topo, a)
}

// ConsumeAlerts takes the alerts of a Hook, and those that nobody took, until ctx is
// done. What its user may not have, it goes without.
func (b *Broker) ConsumeAlerts(ctx context.Context, t AlertTaker) error {
	return alerts.Take(ctx, b.c, b.topo, t, b.alertsAgain)
}

// IsAlert reports whether a publish that was refused was an alert's.
func (b *Broker) IsAlert(r link.Refusal) bool {
	exchange, _, _ := strings.Cut(r.To, " ")
	return exchange == b.AlertsExchange()
}

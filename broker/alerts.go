package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

const alertPrefetch = 5

// ErrAlertsDenied means that this user may not raise alerts, or not take them, or that
// what that needs is not there and is not his to make.
var ErrAlertsDenied = link.Final("holdfast: alerts between processes are not possible for this user")

// PublishAlert hands an alert to a process that takes the alerts of one of keys, the
// first that some process takes, or took within the last minutes; it returns that key once
// RabbitMQ has stored it. Where there is none, an error wraps [holdfast.ErrUnroutable];
// where this user may not, [ErrAlertsDenied].
func (b *Broker) PublishAlert(ctx context.Context, a holdfast.Alert, keys ...string) (key string, err error) {
	msg, err := wire.EncodeAlert(a)
	if err != nil {
		return "", err
	}
	if err := b.topo.Declare(ctx, b.topo.AlertSteps()); err != nil {
		return "", fmt.Errorf("alert: %w", deniedAlerts(err))
	}
	err = holdfast.ErrUnroutable
	for _, key := range keys {
		bounded, cancel := b.c.Timeout(ctx)
		p := link.Publication{Exchange: b.AlertsExchange(), Key: key, Mandatory: true, Msg: msg}
		err = b.c.Pub.One(bounded, &p, "")
		cancel()
		if !errors.Is(err, holdfast.ErrUnroutable) {
			return key, deniedAlerts(err)
		}
	}
	return "", err
}

// deniedAlerts marks an error that a person has to mend.
func deniedAlerts(err error) error {
	var missing *MissingError
	var refused *amqp.Error
	var forbidden *holdfast.UnavailableError
	if errors.As(err, &missing) || errors.As(err, &refused) && refused.Code == amqp.AccessRefused ||
		errors.As(err, &forbidden) {
		return fmt.Errorf("%w: %w", ErrAlertsDenied, err)
	}
	return err
}

// KeepAlert keeps an alert for whoever comes that has somebody to tell. The last 10,000
// are kept.
func (b *Broker) KeepAlert(ctx context.Context, a holdfast.Alert) error {
	_, err := b.PublishAlert(ctx, a, topology.AlertsNone)
	return err
}

// IsAlert reports whether a publish that was refused was an alert's.
func (b *Broker) IsAlert(r link.Refusal) bool {
	exchange, _, _ := strings.Cut(r.To, " ")
	return exchange == b.AlertsExchange()
}

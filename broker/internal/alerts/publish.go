// Package alerts hands alerts to the processes that have somebody to tell, and takes them
// there: Publish, Keep and Take. Which queues that needs is package topology's (Hook), and
// what an alert looks like package wire's. Broker's methods of the like names call it.
package alerts

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// ErrDenied means that this user may not raise alerts, or not take them, or that
// what that needs is not there and is not his to make.
var ErrDenied = link.Final("holdfast: alerts between processes are not possible for this user")

// Publish hands an alert to a process that takes the alerts of one of keys, and
// returns that key.
func Publish(ctx context.Context, c *link.Client, topo *topology.Maker, a holdfast.Alert,
	keys ...string) (key string, err error) {
	msg, err := wire.EncodeAlert(a)
	if err != nil {
		return "", err
	}
	if err := topo.Declare(ctx, topo.AlertSteps()); err != nil {
		return "", fmt.Errorf("alert: %w", denied(err))
	}
	err = holdfast.ErrUnroutable
	for _, key := range keys {
		bounded, cancel := c.Timeout(ctx)
		p := link.Publication{Exchange: c.AlertsExchange(), Key: key, Mandatory: true, Msg: msg}
		err = c.Pub.One(bounded, &p, "")
		cancel()
		if !errors.Is(err, holdfast.ErrUnroutable) {
			return key, denied(err)
		}
	}
	return "", err
}

// denied marks an error that a person has to mend.
func denied(err error) error {
	var missing *topology.MissingError
	var refused *amqp.Error
	var forbidden *holdfast.UnavailableError
	if errors.As(err, &missing) || errors.As(err, &refused) && refused.Code == amqp.AccessRefused ||
		errors.As(err, &forbidden) {
		return fmt.Errorf("%w: %w", ErrDenied, err)
	}
	return err
}

// Keep keeps an alert for whoever comes that has somebody to tell.
func Keep(ctx context.Context, c *link.Client, topo *topology.Maker, a holdfast.Alert) error {
	_, err := Publish(ctx, c, topo, a, topology.AlertsNone)
	return err
}

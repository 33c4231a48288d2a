package keeper

import (
	"context"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// leftHalves are the undecided half messages that a Keeper held when it lost its
// subscription. RabbitMQ has them, too, and sends them again, unless it has lost
// them: then the Keeper's copies are the only ones.
type leftHalves struct {
	records []*amqp.Delivery
	absent  int    // those that only RabbitMQ had
	losses  uint64 // how often the queue had been lost when they came
}

// left returns the undecided halves.
func (c *keeperCore) left() (l leftHalves) {
	for _, held := range c.order {
		switch {
		case held.state == halfGone:
		case held.record != nil:
			l.records = append(l.records, held.record.delivery())
		default:
			l.absent++
		}
	}
	return l
}

// storeAgain stores what the last session left, if the half queue was lost since.
// Some of it may have been settled meanwhile: then a check-back finds that, and
// the message is delivered twice at most.
func (k *keeper) storeAgain(ctx context.Context) {
	l := k.left
	k.left = leftHalves{}
	if l.losses == k.Losses(k.queue) || len(l.records)+l.absent == 0 {
		return
	}
	k.log.Warn("the half queue was lost: the undecided half messages that this Keeper held are stored again",
		"half messages", len(l.records), "not in memory, lost", l.absent)
	k.handing.Go(func() {
		for _, d := range l.records {
			pause := link.NewBackoff()
			for {
				timed, cancel := k.Client.Timeout(ctx)
				p := link.Publication{Exchange: k.Client.HalfExchangeOf(d.Headers), Key: k.queue, Mandatory: true, Repair: true,
					Msg: wire.Again(d)}
				err := k.Client.Pub.One(timed, &p, "")
				if link.Hopeless(err) {
					err = k.Client.Bury(timed, d, wire.DeathOf(k.queue, "", 0, err, time.Now()))
				}
				cancel()
				if err == nil {
					break
				}
				k.log.Warn("a half message could not be stored again yet", "message", d.MessageId, "error", err)
				if !link.Sleep(ctx, pause.NextBackOff()) {
					return
				}
			}
		}
	})
}

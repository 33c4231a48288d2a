package transactions

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	watermillamqp "github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	watermillsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/components/forwarder"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/measure"
	"github.com/holdfastmq/holdfast/bench/internal/messages"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// What is set of the outbox. The rest are Watermill's defaults.
const (
	outboxBatch = 1000                  // rows read at a time; the default is 100
	outboxPoll  = 10 * time.Millisecond // while the outbox is empty; the default is 1 s
	outboxQueue = "outbox_of_orders"    // the topic, and thereby the table, between producer and forwarder
)

// Outbox is the transactional outbox as Watermill does it: the message is a row of
// the local transaction, and a forwarder publishes the rows.
var Outbox = contest.Competitor{
	Name: "outbox",
	About: fmt.Sprintf("the transactional outbox of Watermill, from end to end: "+
		"one insert and the message's row in one transaction (watermill-sql, the components' forwarder.Publisher); "+
		"the forwarder (its subscriber reads %d rows at a time and polls "+
		"every %v when there are none) publishes through watermill-amqp, persistent, confirmed, on a pool of channels, "+
		"straight to a durable quorum queue; bare amqp091-go consumes that; at most 1,000 messages are under way",
		outboxBatch, outboxPoll),
	Most: contest.SlowMost,
	Open: contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openOutbox(ctx, s, "outbox", 1)
	}),
}

// OutboxSharded is what an application can do when one forwarder is not enough: a
// second one at the same outbox would wait for the first.
var OutboxSharded = contest.Competitor{
	Name: "outbox-4",
	About: "as outbox, with four outbox tables that the producers take turns in, and a forwarder for each: " +
		"the order of messages is lost",
	Callers: []int{64},
	Open: contest.Lazily(func(ctx context.Context, s *servers.Servers) (*contest.Entry, error) {
		return openOutbox(ctx, s, "outbox-4", 4)
	}),
}

func openOutbox(ctx context.Context, s *servers.Servers, name string, forwarders int) (*contest.Entry, error) {
	if _, err := s.Topic(ctx, name); err != nil { // declares the queue, like everybody's
		return nil, err
	}
	db, err := s.DB.DB()
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, forwarders+1)
	a := measure.NewArrivals()
	o := &outboxes{s: s, schema: watermillsql.DefaultPostgreSQLSchema{SubscribeBatchSize: outboxBatch}}
	var closers []func() error
	started := 0
	stop := func() error {
		cancel()
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		for range started {
			errs = append(errs, <-ended)
		}
		return errors.Join(errs...)
	}
	for i := range forwarders {
		topic := fmt.Sprintf("%s_%s_%d", outboxQueue, s.Database, i)
		f, closeAll, err := o.forwarder(db, topic)
		if err != nil {
			return nil, errors.Join(err, stop())
		}
		o.topics = append(o.topics, topic)
		closers = append(closers, closeAll)
		started++
		go func() { ended <- f.Run(running) }()
		select {
		case <-f.Running():
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), stop())
		}
	}
	started++
	go func() {
		ended <- messages.RunBare(running, s, name, messages.ConsumeCallers[0], func(d *amqp.Delivery) error {
			a.Arrived(orders.NumberIn(d.Body))
			return nil
		})
	}()
	queue := s.Broker.ConsumerQueue(name)
	return &contest.Entry{
		Drive: a.Drive(func(ctx context.Context, number string) error { return o.send(ctx, queue, number) }),
		Settle: func(ctx context.Context) error {
			return errors.Join(stop(), s.AwaitEmpty(ctx, queue), o.drop(ctx))
		},
	}, nil
}

// outboxes are tables of messages to be forwarded.
type outboxes struct {
	s      *servers.Servers
	schema watermillsql.DefaultPostgreSQLSchema
	topics []string // one for each
}

// forwarder makes what publishes one outbox's rows.
func (o *outboxes) forwarder(db *sql.DB, topic string) (f *forwarder.Forwarder, closeAll func() error, err error) {
	log := watermill.NopLogger{}
	subscriber, err := watermillsql.NewSubscriber(watermillsql.BeginnerFromStdSQL(db), watermillsql.SubscriberConfig{
		SchemaAdapter: o.schema, OffsetsAdapter: watermillsql.DefaultPostgreSQLOffsetsAdapter{},
		PollInterval: outboxPoll, InitializeSchema: true}, log)
	if err != nil {
		return nil, nil, err
	}
	config := watermillamqp.NewDurableQueueConfig(o.s.Stack.AMQPURL())
	config.Publish.ConfirmDelivery, config.Publish.ChannelPoolSize = true, 4
	publisher, err := watermillamqp.NewPublisher(config, log)
	if err != nil {
		return nil, nil, err
	}
	f, err = forwarder.NewForwarder(subscriber, publisher, log, forwarder.Config{ForwarderTopic: topic})
	if err != nil {
		return nil, nil, errors.Join(err, publisher.Close())
	}
	return f, func() error { return errors.Join(f.Close(), subscriber.Close(), publisher.Close()) }, nil
}

// send is the local transaction: the insert, and the message's row.
func (o *outboxes) send(ctx context.Context, queue, number string) error {
	return o.s.DB.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := orders.Insert(tx, number); err != nil {
			return err
		}
		id := uuid.Must(uuid.NewV7())
		sqlTx, ok := tx.Statement.ConnPool.(*sql.Tx)
		if !ok {
			return fmt.Errorf("gorm's transaction is a %T", tx.Statement.ConnPool)
		}
		p, err := watermillsql.NewPublisher(watermillsql.TxFromStdSQL(sqlTx),
			watermillsql.PublisherConfig{SchemaAdapter: o.schema}, nil)
		if err != nil {
			return err
		}
		topic := o.topics[int(id[15])%len(o.topics)]
		return forwarder.NewPublisher(p, forwarder.PublisherConfig{ForwarderTopic: topic}).
			Publish(queue, message.NewMessageWithContext(ctx, id.String(), orders.Body(number)))
	})
}

// drop removes the tables.
func (o *outboxes) drop(ctx context.Context) error {
	var errs []error
	for _, topic := range o.topics {
		errs = append(errs, o.s.DB.WithContext(ctx).
			Exec(fmt.Sprintf("DROP TABLE IF EXISTS %s, %s", o.schema.MessagesTable(topic),
				watermillsql.DefaultPostgreSQLOffsetsAdapter{}.MessagesOffsetsTable(topic))).Error)
	}
	return errors.Join(errs...)
}

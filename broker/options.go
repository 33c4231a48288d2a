package broker

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/link"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

// Options say which RabbitMQ to use and how. The zero value of every field but
// URL means its default.
type Options struct {
	// URL is where RabbitMQ is: amqp://user:password@host:5672/vhost, or amqps:// for TLS.
	// Several, with commas between, are ways to the same virtual host of the same RabbitMQ:
	// they are tried in an order of this process's own. Required. It is never logged.
	URL string
	// TLS is how to speak TLS with what URL names by amqps://. The zero value: the system's
	// authorities, or the files that URL names.
	TLS TLS
	// Prefix begins the name of every exchange and queue; programs that are to
	// work together need the same. Default "holdfast", at most 40 bytes.
	Prefix string
	// Name is the connection's name in RabbitMQ's management UI. Default
	// "holdfast".
	Name string
	// PublishChannels is the number of AMQP channels that publishes are spread
	// over. Default 4, at most 64.
	PublishChannels int
	// PublishTimeout is how long a publish may take, retries included, where
	// the caller's context has no deadline. Default 10 s.
	PublishTimeout time.Duration
	// HalfQueues is the number of half queues of a group; transactions are spread
	// over them by the hash of their ID. Default 1, at most [MaxHalfQueues].
	HalfQueues int
	// MaxBody limits the bodies of one transaction's messages together, in
	// bytes. Default [holdfast.MaxBody].
	MaxBody int
	// OpInterval is how long an op record gathers transactions before it is
	// written. Default 2 ms.
	OpInterval time.Duration
	// OpBatch is how many transactions one op record names at most. Default
	// 500, at most 10,000.
	OpBatch int
	// HalfBatch is how many half messages share a record at most: those of [Broker.PublishHalves], and in
	// the Express lane those that come while earlier ones are being confirmed; 1 gives each its
	// own. Default 1, at most 64. With RollingUpgrade it is 1: a Keeper of an older version does
	// not read such records.
	HalfBatch int
	// RollingUpgrade says that processes of an older version still run with this
	// prefix: their records, which went through RabbitMQ's default exchange, count as
	// they did there. Anybody who may write to that exchange can then forge them: set
	// it for as long as old processes run, no longer. See docs/security.md.
	RollingUpgrade bool
	// Signer has control records signed, and Signing says what is done with those that are not.
	// Required needs a Signer, and excludes RollingUpgrade: older versions sign nothing.
	Signer  holdfast.Signer
	Signing holdfast.Signing
	// NoDeclare has nothing made that is there for longer than this process, or shared
	// with others: it is looked for, and what is missing is a [MissingError]. What is
	// this process's own and goes with it, the queues of status requests and of its
	// replies, is made if the user may, and gone without if not.
	NoDeclare bool
	// ConsumerTimeout is RabbitMQ's consumer_timeout, as far as it is known. Default 0:
	// it is taken for 30 m, its default; negative: there is none.
	ConsumerTimeout time.Duration
	// OnRemade, if not nil, is told of queues that were missing in RabbitMQ and were
	// made again. It must return at once.
	OnRemade func(Remade)
	// OnRefused, if not nil, is told of each publish that RabbitMQ did not take, or not
	// for each of its queues. It must return at once.
	OnRefused func(link.Refusal)
	// Logger is told of lost and regained connections and of what needs an
	// operator. Default: nobody is.
	Logger *slog.Logger

	signs    *link.Signatures
	frameMax int             // asked for; tests make it small
	ring     *addresses.Ring // of URL
}

// TLS is how a process speaks TLS with RabbitMQ: a tls.Config, or files, which are read
// again for each new connection.
type TLS = addresses.TLS

const defaultPrefix = "holdfast"

func (o Options) withDefaults() Options {
	def := func(s *string, d string) {
		if *s == "" {
			*s = d
		}
	}
	def(&o.Prefix, defaultPrefix)
	def(&o.Name, defaultPrefix)
	if o.PublishChannels == 0 {
		o.PublishChannels = 4
	}
	if o.PublishTimeout == 0 {
		o.PublishTimeout = 10 * time.Second
	}
	if o.HalfQueues == 0 {
		o.HalfQueues = 1
	}
	if o.MaxBody == 0 {
		o.MaxBody = holdfast.MaxBody
	}
	if o.OpInterval == 0 {
		o.OpInterval = 2 * time.Millisecond
	}
	if o.OpBatch == 0 {
		o.OpBatch = 500
	}
	if o.HalfBatch == 0 || o.RollingUpgrade {
		o.HalfBatch = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// validate checks options that have their defaults.
func (o Options) validate() error {
	if o.URL == "" {
		return fmt.Errorf("%w: no URL for RabbitMQ: set AMQP_URL, for example to amqp://user:password@host:5672/vhost",
			holdfast.ErrInvalid)
	}
	if err := holdfast.ValidateName("prefix", o.Prefix); err != nil {
		return err
	}
	if err := ValidSigning(o.Signer, o.Signing, o.RollingUpgrade); err != nil {
		return err
	}
	if len(o.Prefix) > wire.MaxPrefix {
		return fmt.Errorf("%w: the prefix has %d bytes, the limit is %d", holdfast.ErrInvalid, len(o.Prefix), wire.MaxPrefix)
	}
	for _, n := range []struct {
		name      string
		v, lo, hi int
	}{
		{"PublishChannels", o.PublishChannels, 1, 64},
		{"OpBatch", o.OpBatch, 1, 10_000},
		{"HalfBatch", o.HalfBatch, 1, wire.MaxHalves},
		{"HalfQueues", o.HalfQueues, 1, wire.MaxHalfQueues},
		{"MaxBody", o.MaxBody, 1, 64 << 20},
	} {
		if n.v < n.lo || n.v > n.hi {
			return fmt.Errorf("%w: %s is %d: want %d to %d", holdfast.ErrInvalid, n.name, n.v, n.lo, n.hi)
		}
	}
	if o.PublishTimeout < 0 || o.OpInterval < 0 {
		return fmt.Errorf("%w: PublishTimeout and OpInterval must not be negative", holdfast.ErrInvalid)
	}
	return nil
}

// ValidSigning says what is wrong with the options of signatures. The error wraps
// [holdfast.ErrInvalid].
func ValidSigning(s holdfast.Signer, mode holdfast.Signing, rolling bool) error {
	if err := mode.Validate(); err != nil {
		return err
	}
	switch {
	case mode != holdfast.SigningRequired:
		return nil
	case s == nil:
		return fmt.Errorf("%w: Signing is %s, and there are no keys: set HOLDFAST_SIGNING_KEYRING or Options.Signer",
			holdfast.ErrInvalid, mode)
	case rolling:
		return fmt.Errorf("%w: Signing is %s, and RollingUpgrade is set: processes of an older version sign nothing: set "+
			"HOLDFAST_SIGNING to on until none of them runs, then unset RollingUpgrade", holdfast.ErrInvalid, mode)
	}
	return nil
}

// find reads URL, into ring.
func (o *Options) find() error {
	list, err := addresses.Parse(o.URL)
	if err != nil {
		return err
	}
	o.ring = addresses.NewRing(list)
	return o.TLS.Validate(list)
}

// link are the options of the connections and of what is published.
func (o Options) link() link.Options {
	return link.Options{Addresses: o.ring, TLS: o.TLS, Name: o.Name, Names: o.names(), PublishChannels: o.PublishChannels,
		OpInterval: o.OpInterval, OpBatch: o.OpBatch, HalfBatch: o.HalfBatch, RollingUpgrade: o.RollingUpgrade,
		OnRefused: o.OnRefused, Signatures: o.signs, Log: o.Logger, FrameMax: o.frameMax}
}

// client is what the parts of the package share, without its connections.
func (o Options) client() *link.Client {
	return &link.Client{Names: o.names(), Log: o.Logger, Instance: o.Name, Where: o.link().Where(), MaxBody: o.MaxBody,
		PublishTimeout: o.PublishTimeout, Rolling: o.RollingUpgrade, Signatures: o.signs, Calls: &link.Calls{}}
}

func (o Options) names() names { return names{Prefix: o.Prefix, Halves: o.HalfQueues} }

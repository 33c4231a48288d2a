package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/holdfastmq/holdfast/internal/stack/install"

	"github.com/holdfastmq/holdfast/internal/stack/process"
	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

// Options say where and how a stack is started. The zero value is a stack in a
// temporary folder, silent, using what the environment names.
type Options struct {
	// Dir is the data folder. A stack that is started again from the same folder
	// has its data again, and its ports if they are still free. Empty means a new
	// temporary folder, which Close removes.
	Dir string
	// Out gets progress lines; nil means none.
	Out io.Writer
	// Screen is the terminal that shows Out, where it is one: a line of it changes while
	// something is built. Nil: only whole lines are printed.
	Screen io.Writer
	// IgnoreEnv means never to use AMQP_URL, DATABASE_URL or TEMPORAL_ADDRESS
	// from the environment. Tests that kill parts set it.
	IgnoreEnv bool
	// TemporalServer is the Temporal to start, where TEMPORAL_ADDRESS names none.
	TemporalServer TemporalServer
	// RabbitMQTLS, if not nil, has the RabbitMQ that is started speak TLS, too; see
	// [Stack.AMQPSURL].
	RabbitMQTLS *RabbitMQTLS
	// OnlyRabbitMQ starts neither PostgreSQL nor Temporal, for tests that need none.
	OnlyRabbitMQ bool

	// orphans leaves the processes running when this process dies; for tests of
	// what happens then.
	orphans bool
}

// Stack is a running RabbitMQ, PostgreSQL and Temporal.
type Stack struct {
	// RabbitMQ, PostgreSQL and Temporal are the parts that this stack started;
	// nil where the environment names one, or none is wanted.
	RabbitMQ, PostgreSQL, Temporal *Part

	amqpURL, databaseURL, temporalAddress, namespace, temporalUI string

	folder  *folder
	book    *book
	spawner *process.Spawner

	temporalServer  TemporalServer
	rabbitTLS       *RabbitMQTLS
	amqpsURL        string
	postgres        *postgres     // the driver of PostgreSQL; valid once postgresStarted is closed
	postgresStarted chan struct{} // closed when it is up

	unwatch  context.CancelFunc // ends what watches the dev server; nil where nothing does
	watching sync.WaitGroup

	closeOnce sync.Once
	closeErr  error
}

// Start starts the three parts concurrently and waits until they are ready.
// Parts that the environment names are checked instead. When anything fails, or
// ctx ends, all that was started is stopped again. Later, ctx has no meaning any
// more: call Close.
func Start(ctx context.Context, o Options) (*Stack, error) {
	out := progress.New(o.Out)
	out.Screen(o.Screen)
	env := external(o.IgnoreEnv)
	s := &Stack{
		amqpURL: env(envAMQP), databaseURL: env(envDatabase), temporalAddress: env(envTemporal),
		namespace: env(envNamespace), temporalServer: o.TemporalServer, rabbitTLS: o.RabbitMQTLS,
		postgresStarted: make(chan struct{}),
	}
	if s.namespace == "" {
		s.namespace = defaultNamespace
	}
	if s.temporalAddress != "" {
		s.temporalUI = env(envUI)
	}
	if s.temporalServer == TemporalPostgreSQL && s.temporalAddress == "" && s.databaseURL != "" {
		return nil, errors.New("Temporal with PostgreSQL persistence keeps its data in the private PostgreSQL, " +
			"and DATABASE_URL names another one: unset DATABASE_URL, " +
			"or set TEMPORAL_ADDRESS to a running server, or use the dev server")
	}
	if s.amqpURL == "" || s.databaseURL == "" || s.temporalAddress == "" {
		if err := s.open(o, out); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	bring := []bringer{s.bringTemporal, s.bringRabbitMQ, s.bringPostgreSQL}
	if o.OnlyRabbitMQ {
		bring = []bringer{s.bringRabbitMQ}
	}
	if err := startAll(ctx, out, bring); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// open takes the data folder, and clears away what dead owners left.
func (s *Stack) open(o Options, out *progress.Writer) error {
	sweep(out)
	var err error
	if s.folder, err = openFolder(o.Dir); err != nil {
		return err
	}
	if err := stopLeftovers(s.folder, out); err != nil {
		return fmt.Errorf("data folder %s: %w", s.folder.path, err)
	}
	if s.book, err = newBook(s.folder.join(bookFile)); err != nil {
		return err
	}
	if !o.orphans {
		s.spawner = process.NewSpawner()
	}
	return nil
}

// bringer brings up a part.
type bringer func(context.Context, *progress.Writer, *install.Installer) error

// startAll brings up the parts; the first failure ends the others' waiting.
func startAll(ctx context.Context, out *progress.Writer, parts []bringer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	in := install.New(out)
	var first error
	var once sync.Once
	var wg sync.WaitGroup
	for _, bring := range parts {
		wg.Go(func() {
			if err := bring(ctx, out, in); err != nil {
				once.Do(func() {
					first = err
					cancel(err)
				})
			}
		})
	}
	wg.Wait()
	return first
}

func (s *Stack) bringRabbitMQ(ctx context.Context, out *progress.Writer, in *install.Installer) error {
	if s.amqpURL != "" {
		version, err := checkAMQP(ctx, s.amqpURL)
		if err == nil {
			out.Line(rabbitName, "using the one AMQP_URL names: %s (%s)", redacted(s.amqpURL), version)
		}
		return err
	}
	r, err := newRabbit(ctx, s.folder, in)
	if err != nil {
		return err
	}
	r.tls = s.rabbitTLS
	s.RabbitMQ = s.part(rabbitName, "rabbitmq", r, out)
	if err := s.RabbitMQ.Start(ctx); err != nil {
		return err
	}
	s.amqpURL = r.url()
	if r.tls != nil {
		s.amqpsURL = r.tlsURL()
	}
	return nil
}

func (s *Stack) bringPostgreSQL(ctx context.Context, out *progress.Writer, in *install.Installer) error {
	if s.databaseURL != "" {
		version, err := checkDatabase(ctx, s.databaseURL)
		if err == nil {
			out.Line(postgresName, "using the one DATABASE_URL names: %s (%s)", redacted(s.databaseURL), version)
		}
		return err
	}
	p, err := newPostgres(ctx, s.folder, in, s.book)
	if err != nil {
		return err
	}
	s.PostgreSQL = s.part(postgresName, "postgresql", p, out)
	if err := s.PostgreSQL.Start(ctx); err != nil {
		return err
	}
	s.databaseURL = p.url(postgresDatabase)
	s.postgres = p
	close(s.postgresStarted)
	return nil
}

func (s *Stack) bringTemporal(ctx context.Context, out *progress.Writer, in *install.Installer) error {
	if s.temporalAddress != "" {
		version, err := checkTemporal(ctx, s.temporalAddress, s.namespace)
		if err == nil {
			out.Line(temporalName, "using the one TEMPORAL_ADDRESS names: %s (%s)", s.temporalAddress, version)
		}
		return err
	}
	if s.temporalServer == TemporalPostgreSQL {
		return s.bringTemporalServer(ctx, out, in)
	}
	t, err := newTemporal(ctx, s.folder, in, s.namespace)
	if err != nil {
		return err
	}
	s.Temporal = s.part(temporalName, "temporal", t, out)
	if err := s.Temporal.Start(ctx); err != nil {
		return err
	}
	s.temporalAddress, s.temporalUI = t.address(), t.ui()
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	s.unwatch = unwatch
	s.watching.Go(func() { s.Temporal.watch(watched, watchEvery) })
	out.Line(temporalName, "web UI at %s", s.temporalUI)
	return nil
}

// bringTemporalServer brings up the Temporal server with PostgreSQL persistence,
// once PostgreSQL is up.
func (s *Stack) bringTemporalServer(ctx context.Context, out *progress.Writer, in *install.Installer) error {
	t, err := newTemporalServer(ctx, s.folder, in, s.namespace)
	if err != nil {
		return err
	}
	select {
	case <-s.postgresStarted:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	t.database = s.postgres
	s.Temporal = s.part(temporalName, "temporal", t, out)
	if err := s.Temporal.Start(ctx); err != nil {
		return err
	}
	s.temporalAddress = t.address()
	return nil
}

func (s *Stack) part(name, log string, d driver, out *progress.Writer) *Part {
	return &Part{name: name, driver: d, out: out, spawner: s.spawner, book: s.book, log: s.folder.join(log + ".log")}
}

// Dir is the data folder; empty when every part is external.
func (s *Stack) Dir() string {
	if s.folder == nil {
		return ""
	}
	return s.folder.path
}

// AMQPURL is RabbitMQ's address, with its credentials.
func (s *Stack) AMQPURL() string { return s.amqpURL }

// DatabaseURL is the address of the default database, "holdfast", with its
// credentials; or what DATABASE_URL says.
func (s *Stack) DatabaseURL() string { return s.databaseURL }

// TemporalAddress is the HOST:PORT of Temporal's frontend.
func (s *Stack) TemporalAddress() string { return s.temporalAddress }

// Namespace is the Temporal namespace: TEMPORAL_NAMESPACE, or "default".
func (s *Stack) Namespace() string { return s.namespace }

// TemporalUI is the base URL of Temporal's web UI; empty where there is none, or
// it is unknown.
func (s *Stack) TemporalUI() string { return s.temporalUI }

// Env are the settings that make another process use this stack, as KEY=VALUE.
func (s *Stack) Env() []string {
	return []string{
		envAMQP + "=" + s.amqpURL,
		envDatabase + "=" + s.databaseURL,
		envTemporal + "=" + s.temporalAddress,
		envNamespace + "=" + s.namespace,
		envUI + "=" + s.temporalUI,
	}
}

// Close stops what this stack started, Temporal first, PostgreSQL last; each in
// good order, or killed after 20 seconds. It removes a temporary data folder. A
// second call changes nothing and returns the same error.
func (s *Stack) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Stack) close() error {
	if s.unwatch != nil {
		s.unwatch()
		s.watching.Wait()
	}
	var errs []error
	for _, p := range []*Part{s.Temporal, s.RabbitMQ, s.PostgreSQL} {
		if p != nil {
			errs = append(errs, p.Stop(context.Background()))
		}
	}
	if s.spawner != nil {
		s.spawner.Close()
	}
	if s.folder == nil || s.folder.lock == nil {
		return errors.Join(errs...)
	}
	if s.folder.temporary && s.book != nil {
		errs = append(errs, s.book.removeOutside())
	}
	return errors.Join(append(errs, s.folder.close())...)
}

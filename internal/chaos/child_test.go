package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	gormlogger "gorm.io/gorm/logger"

	"github.com/holdfastmq/holdfast/internal/fault"
	"github.com/holdfastmq/holdfast/worker"
)

// childEnv holds a childConfig: this process is a child of the test's then.
const childEnv = "HOLDFAST_TEST_CHAOS"

// childConfig says what a process is.
type childConfig struct {
	AMQPURL, Prefix, Group, Temporal, Namespace, Database string
	// Name is the slot's. Slot is a producer's number, from 0; -1: a consumer.
	Name string
	Slot int
	// Seed makes the calls, of which there are Calls; Journal is where they are
	// written down.
	Seed    uint64
	Calls   int
	Journal string
}

// order is what a child is told to do: to die at a point, at the how manieth time.
type order struct {
	Point string `json:"point"`
	Hit   int    `json:"hit"`
}

// report is a line that a child says.
type report struct {
	Ready    bool `json:"ready,omitempty"`
	Ended    int  `json:"ended,omitempty"` // so many calls more
	Finished bool `json:"finished,omitempty"`
}

func childMain(config string) int {
	var c childConfig
	err := json.Unmarshal([]byte(config), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "the child ends:", err)
		return 1
	}
	return 0
}

func (c childConfig) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	db, err := openDB(c.Database, 24)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o := worker.Options{AMQPURL: c.AMQPURL, Prefix: c.Prefix, DB: db, Logger: log, Timeouts: worker.Timeouts{Drain: 20 * time.Second},
		Instance: fmt.Sprintf("%s-%d", c.Name, os.Getpid())}
	if c.Slot < 0 {
		return c.serve(ctx, cancel, o, consume, nil)
	}
	p, err := newProducer(c)
	if err != nil {
		return err
	}
	temporal, err := c.options(&o, log)
	if err != nil {
		return err
	}
	defer temporal.Close()
	return c.serve(ctx, cancel, o, nil, p)
}

// serve runs a worker, and does what the test says until that has nothing more to
// say.
func (c childConfig) serve(ctx context.Context, cancel context.CancelFunc, o worker.Options, add func(*worker.Worker), p *producer) error {
	w, err := worker.New(o)
	if err != nil {
		return err
	}
	if add != nil {
		add(w)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	select {
	case <-w.Ready():
	case err := <-ended:
		return err
	}
	say(report{Ready: true})
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		if p != nil {
			p.produce(ctx, w)
		}
	}()
	go func() {
		defer cancel()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			var told order
			if err := json.Unmarshal(lines.Bytes(), &told); err != nil {
				panic(err)
			}
			dieAt(told)
		}
	}()
	err = <-ended
	<-produced
	return err
}

// dieAt kills this process when it comes to the point for the given time.
func dieAt(o order) {
	var n atomic.Int64
	fault.Set(func(at string) {
		if at == o.Point && n.Add(1) == int64(o.Hit) {
			fault.Kill()
		}
	})
}

// say is called by one goroutine at a time.
func say(r report) {
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

// openDB connects lazily.
func openDB(url string, conns int) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{Logger: gormlogger.Discard, DisableAutomaticPing: true})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return db, nil
}

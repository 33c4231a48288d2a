package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/operator/processes"
	"github.com/holdfastmq/holdfast/internal/operator/reach"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/waits"
)

// manyWaiting is how many messages in a queue are worth a warning.
const manyWaiting = 10_000

// manyAlone is how many messages may wait to be tried one by one before it is
// worth a warning.
const manyAlone = 100

// expiresSoon is how long before its end a certificate is worth a warning.
const expiresSoon = 14 * 24 * time.Hour

func examineRabbitMQ(ctx context.Context, c *reach.Config, e Examination) []Finding {
	f := Findings{Suggester: c.Suggester(), part: "RabbitMQ"}
	if c.AMQPURL == "" {
		f.unreached(errors.New("no address"), "set AMQP_URL, for example to amqp://user:password@host:5672/vhost")
		return f.All
	}
	o, err := c.BrokerOptions("holdfast doctor")
	if err != nil {
		f.unreached(err, "see docs/signing.md")
		return f.All
	}
	b, err := broker.Open(ctx, o)
	if err != nil {
		f.unreached(err, "see that it runs, and check AMQP_URL")
		return f.All
	}
	defer func() { _ = b.Close(ctx) }() // nothing was published
	answers, unasked := e.asked()
	queues := failureQueues(b.DeadQueue(), c.Prefix, answers)
	failing := len(queues)
	for _, g := range e.Groups {
		queues = append(queues, b.ReplyQueue(g))
	}
	for _, c := range e.Consumers {
		queues = append(queues, b.ConsumerQueue(c), b.AloneQueue(c))
	}
	rest := len(queues)
	known := slices.DeleteFunc(processes.WithHeard(c.KnownConsumers(ctx, e.Skip), answers),
		func(k barrier.KnownConsumer) bool { return slices.Contains(e.Consumers, k.Name) })
	for _, k := range known {
		queues = append(queues, b.ConsumerQueue(k.Name))
	}
	info, err := b.Inspect(ctx, queues...)
	if err != nil {
		f.unreached(err, "see that this user may read what begins with "+c.Prefix)
		return f.All
	}
	f.connection(info, c.Clock())
	f.rabbitVersion(info)
	if info.Blocked != "" {
		f.add(text.LevelProblem, "alarms", "free memory or disk on the server, or raise its limits",
			"publishers are blocked: %s", info.Blocked)
	}
	if info.Blocked == "" {
		f.messageSize(b.TakesRecord(ctx, largestRecord))
	}
	f.topology(info, b.TopicsExchange(), len(e.Groups)+len(e.Consumers) > 0)
	f.failures(info.Queues[:failing])
	f.ladders(waits.LookAtLadder(ctx, b, info.Queues[2:failing], waits.LadderLook), c.Clock())
	managed := examinePolicies(ctx, c, &f, b, cmp.Or(e.Management, c.Management))
	f.consumerTimeouts(answers, managed, b.ConsumerQueue)
	f.processes(answers, unasked)
	f.databases(answers)
	f.sagaLanes(answers)
	f.sameNames(answers)
	f.sharedQueues(answers)
	f.troubles(answers, c.Clock())
	f.publishing(answers, c.Clock())
	f.signing(answers, c.Clock())
	f.lostConnections(answers, c.Clock())
	now := c.Clock()
	halves, err := processes.KeptQueues(ctx, b, e.Groups, answers)
	if err != nil {
		f.add(text.LevelProblem, "half queues", "see that this user may read what begins with "+c.Prefix, "unknown: %s",
			text.Of(err))
	}
	for _, k := range halves {
		f.halfQueue(k)
		f.keeper(k, now)
	}
	f.otherKeepers(answers, e.Groups, now)
	for i, g := range e.Groups {
		f.replyQueue(g, info.Queues[failing+i])
	}
	for i, c := range e.Consumers {
		at, of := failing+len(e.Groups)+2*i, processes.ConsumerStates(answers, c)
		q := info.Queues[at]
		f.consumerQueue(c, q, of)
		f.aloneQueue(c, info.Queues[at+1])
		f.breaker(c, of, q.Consumers, now)
	}
	for i, k := range known {
		f.remembered(k, info.Queues[rest+i], len(processes.ConsumerStates(answers, k.Name)))
	}
	f.pauses(ctx, b, answers, now)
	for _, c := range processes.Paused(answers, e.Consumers) {
		f.breaker(c, processes.ConsumerStates(answers, c), 0, now)
	}
	return f.All
}

// connection says where RabbitMQ is, and who may read along.
func (f *Findings) connection(info broker.Info, now time.Time) {
	switch left := info.Expires.Sub(now); {
	case info.Encryption == "" && info.Local:
		f.ok("connection", "reached at %s", info.Where)
	case info.Encryption == "":
		f.ok("connection", "reached at %s, not encrypted: passwords and messages cross the network in clear, unless "+
			"something else encrypts it; see docs/tls.md", info.Where)
	case left < expiresSoon:
		f.add(text.LevelWarning, "connection", "renew RabbitMQ's certificate, or that of its authority; see docs/tls.md",
			"reached at %s, encrypted by %s; RabbitMQ's certificate is valid for %s only", info.Where, info.Encryption,
			text.Age(left))
	default:
		f.ok("connection", "reached at %s, encrypted by %s", info.Where, info.Encryption)
	}
}

// rabbitVersion checks that the version is one that Holdfast is tested with.
func (f *Findings) rabbitVersion(info broker.Info) {
	name := strings.TrimSpace(info.Product + " " + info.Version)
	major, minor, ok := majorMinor(info.Version)
	switch {
	case !ok:
		f.add(text.LevelWarning, "version", "use RabbitMQ 3.10 to 4.3", "%s: unknown", name)
	case major < 3 || major == 3 && minor < 10:
		f.add(text.LevelProblem, "version", "upgrade to RabbitMQ 3.10 or later", "%s is too old", name)
	case major > 4 || major == 4 && minor > 3:
		f.add(text.LevelWarning, "version", "use RabbitMQ 3.10 to 4.3", "%s is newer than what Holdfast is tested with", name)
	default:
		f.ok("version", "%s", name)
	}
}

// majorMinor reads the beginning of a version such as 3.10.8.
func majorMinor(version string) (major, minor int, ok bool) {
	fields := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(fields) < 2 {
		return 0, 0, false
	}
	major, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0, 0, false
	}
	digits := strings.IndexFunc(fields[1]+" ", func(r rune) bool { return r < '0' || r > '9' })
	minor, err = strconv.Atoi(fields[1][:digits])
	return major, minor, err == nil
}

// topology checks what every group needs. Before the first group has started,
// that it is not there is as it should be.
func (f *Findings) topology(info broker.Info, exchange string, expected bool) {
	switch {
	case info.Topics:
		f.ok("exchange", "%s is there", exchange)
	case expected:
		f.add(text.LevelProblem, "exchange", "start a process that uses Holdfast: it makes it; check --prefix",
			"%s is not there", exchange)
	default:
		f.add(text.LevelWarning, "exchange", "the first process that uses Holdfast makes it; check --prefix",
			"%s is not there yet", exchange)
	}
}

// halfQueue looks at one of a group's half queues.
func (f *Findings) halfQueue(k processes.KeptQueue) {
	check := "group " + k.Label()
	waits := fmt.Sprintf("%d waiting", k.Waiting)
	switch {
	case !k.Exists:
		f.add(text.LevelProblem, check, "start a process of the group; check its name and --prefix",
			"its half queue %s is not there", k.Name)
	case k.Readers == 0 && k.Queue > 1:
		f.add(text.LevelProblem, check, "start a process of the group: it keeps every half queue that it finds when it "+
			"starts", "no Keeper reads %s; %s", k.Name, waits)
	case k.Readers == 0:
		f.add(text.LevelProblem, check, "start a process of the group that does not only send",
			"no Keeper reads %s: no process of the group runs, or only such as send; %s", k.Name, waits)
	case k.Waiting > manyWaiting:
		f.add(text.LevelWarning, check, "see whether its processes have enough CPU, and whether Temporal takes hand-overs",
			"the Keeper lags behind: %s", waits)
	default:
		f.ok(check, "%s: %s, %s", k.Name, waits, text.Plural(k.Readers, "Keeper"))
	}
}

// consumerQueue looks at a consumer's queue; of is how the consumer is in the
// processes that answered. One whose circuit breaker is open reads nothing.
func (f *Findings) consumerQueue(name string, q broker.QueueInfo, of []broker.ConsumerStatus) {
	check := "consumer " + name
	switch {
	case !q.Exists:
		f.add(text.LevelProblem, check, "start a process of the consumer; check its name and --prefix",
			"its queue %s is not there", q.Name)
	case q.Consumers == 0 && processes.PausedByHand(of) != nil:
		f.ok(check, "%s: %s, paused by hand", q.Name, waiting(q))
	case q.Consumers == 0 && slices.ContainsFunc(of,
		func(c broker.ConsumerStatus) bool { return processes.Severity(c) > 0 }):
		f.ok(check, "%s: %s, paused by its circuit breaker", q.Name, waiting(q))
	case q.Consumers == 0 && len(of) > 0:
		f.add(text.LevelWarning, check, "run doctor again; if it stays so, see the log of its processes",
			"its processes run, but read nothing at the moment: %s", waiting(q))
	case q.Consumers == 0:
		f.add(text.LevelProblem, check, "start a process of the consumer", "nobody reads %s: %s", q.Name, waiting(q))
	case q.Messages > manyWaiting:
		f.add(text.LevelWarning, check, "start more processes of the consumer, or raise its concurrency",
			"it lags behind: %s", waiting(q))
	default:
		f.ok(check, "%s: %s, %d reading", q.Name, waiting(q), q.Consumers)
	}
}

// replyQueue looks at the replies to a group's sagas that found the process gone
// that had asked.
func (f *Findings) replyQueue(group string, q broker.QueueInfo) {
	check := "replies " + group
	switch {
	case q.Messages > 0 && q.Consumers == 0:
		f.add(text.LevelProblem, check, "start a process of the group that has its sagas",
			"%s in %s, and nobody reads them: sagas wait for them", waiting(q), q.Name)
	case q.Messages > manyWaiting:
		f.add(text.LevelWarning, check, "see whether its processes have enough CPU, and whether Temporal takes signals",
			"they lag behind: %s in %s", waiting(q), q.Name)
	case q.Exists:
		f.ok(check, "%s: %s, %d reading", q.Name, waiting(q), q.Consumers)
	}
}

// aloneQueue looks at the messages of a consumer that were lost with their
// processes, and are tried one by one. A process that looks for them is no
// consumer of the queue.
func (f *Findings) aloneQueue(name string, q broker.QueueInfo) {
	check := "consumer " + name
	switch {
	case q.Messages > manyAlone:
		f.add(text.LevelWarning, check, "see why its processes die or lose their connection: the log, their memory",
			"%s in %s: its processes were lost with them", waiting(q), q.Name)
	case q.Messages > 0:
		f.ok(check, "%s in %s, to be tried one by one: a process was lost with them", waiting(q), q.Name)
	}
}

func waiting(q broker.QueueInfo) string { return fmt.Sprintf("%d waiting", q.Messages) }

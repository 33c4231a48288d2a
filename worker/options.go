package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/client"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/addresses"
	"github.com/holdfastmq/holdfast/internal/alerts"
	"github.com/holdfastmq/holdfast/internal/guard"
	"github.com/holdfastmq/holdfast/internal/seal"
	"github.com/holdfastmq/holdfast/keyring"
)

// Options configure a [Worker]. The zero value of every field but Group means
// its documented default.
type Options struct {
	// Group is the producer group: the processes that share a database, and answer
	// check-backs for each other unless they are SendOnly. Required, unless the process
	// only consumes.
	Group string
	// Temporal is the client to use; the caller closes it, after Run has
	// returned. Without it (nil) the worker consumes, and, with Group and the lane
	// Express in Lane or Lanes, sends in that lane. What stays undecided, because a
	// process died, waits in the half queue until a process of the group runs that has
	// Temporal. Everything else that needs Temporal says so: the Traced lane, sagas,
	// Compensate.
	Temporal client.Client
	// Namespace is the namespace of Temporal; empty means that of the client. Run
	// refuses another one than the client's.
	Namespace string
	// AMQPURL is where RabbitMQ is, amqp://user:password@host:5672/vhost, or amqps:// for
	// TLS; empty means $AMQP_URL. Several, with commas between, are ways to the same
	// virtual host of the same RabbitMQ, such as the nodes of a cluster: see docs/deploy.md.
	AMQPURL string
	// AMQPTLS is how to speak TLS with RabbitMQ. It is not changed, and counts in place of
	// all files. Nil: the files of HOLDFAST_AMQP_CA, HOLDFAST_AMQP_CERT and
	// HOLDFAST_AMQP_KEY, or those that the URL names, which are read again for each new
	// connection; see docs/tls.md. Without AMQPURL of amqps:// it is refused.
	AMQPTLS *tls.Config
	// DB is the database of the local transactions and of the consumers. It may
	// be nil where every topic has a Checker and every consumer its own DB, or
	// none.
	DB *gorm.DB
	// Prefix begins the names of all queues, exchanges and task queues. Default:
	// "holdfast".
	Prefix string
	// Declare, if false, has this process make no exchange, queue or binding in RabbitMQ:
	// its user needs no configure permission. What is missing is named when Run begins, in
	// one error, with the command by which an administrator makes it; see
	// docs/security.md. Bindings it cannot see: `holdfast topology check` can. Write
	// new(false). Nil: true, unless HOLDFAST_DECLARE is false.
	// What goes with the process itself, the queues of doctor's questions and of replies
	// to its sagas, is made where the user may, and gone without where not.
	Declare *bool
	// Instance names this process among those of its group, in logs, alerts and what
	// `holdfast doctor` says; give each its own. Two of one name do each other no harm,
	// and are told of. Default: host name, process ID and a random part.
	Instance string
	// Logger receives what is worth knowing; nil discards it.
	Logger *slog.Logger

	// Lane is how transactions are coordinated whose messages do not say, and
	// whose topics do not. Default: Traced. With Express, Run does not wait for
	// Temporal to be there: make the client with client.NewLazyClient. Until it is
	// reached, what needs it fails with an UnavailableError.
	Lane holdfast.Lane
	// Lanes are the lanes of topics; patterns are not allowed. A key saga/NAME is the lane
	// of the sagas of that name whose definition does not say; Lane is not theirs.
	Lanes map[string]holdfast.Lane
	// RemoteCheck makes the worker one that keeps a group whose processes are
	// written in another language: check-backs go to them over RabbitMQ. DB,
	// Checkers, handlers and compensations are then not allowed, and nothing can
	// be sent here; consumers and participants have databases of their own. An
	// operator's decision cannot be made a fact in their database: it holds only
	// if they confirm it, or with force while they do not know.
	RemoteCheck bool
	// SendOnly makes the worker one that sends for its group and does nothing else for it: it
	// keeps no half queue, answers no check-back, runs no handler and no step of a saga,
	// takes no dead letter in and deletes no old row. A process of the group that
	// does has to run, or what stays undecided waits, as `holdfast doctor` says.
	// Nothing can be registered but a Checker, which a process has to know if it sends to
	// the topic: handlers and sagas are with the group's other processes.
	// In the Traced lane the workflow runs there too, and the local transaction here.
	SendOnly bool
	// RollingUpgrade says that processes of an older version still run with this
	// prefix: what they write is believed as it was by their version, and where they
	// are needed to take something, it is written as they take it. Sagas stay in the
	// Traced lane, since Keepers of older versions cannot hand one over. Set it for as long
	// as they run, no longer: see docs/security.md. HOLDFAST_ROLLING_UPGRADE=1 sets it,
	// too.
	RollingUpgrade bool
	// TrustBeginRows has no saga looked for in Temporal before it shares a workflow with others: its
	// begin row alone tells whether its key was used. It is only right while each saga of the group
	// has a begin row: see docs/sagas.md for when that is. It excludes RollingUpgrade.
	TrustBeginRows bool

	// Keyring encrypts what messages and sagas carry before it leaves this process, and
	// decrypts it for handlers; see docs/encryption.md. Nil: the one in the file that
	// HOLDFAST_KEYRING names, or none: then all is in clear, and what others have
	// encrypted waits for a process that has the key.
	Keyring holdfast.Keyring
	// Encryption says what is done with the keyring. Default: HOLDFAST_ENCRYPTION, or
	// [holdfast.EncryptionOn].
	Encryption holdfast.Encryption
	// HashKeys has this process hash the business keys that it is given, with [holdfast.HashKey] and the
	// keyring, which it needs: Message.Key in all that sends, also where a local transaction
	// changes it, the Key of sagas, and that of [JoinSaga]. What is such a hash already stays as
	// it is. Handlers, local transactions, Undos and compensations see the hash; a
	// SendMiddleware sees what it is given. Set it in all processes: for Holdfast the hash is
	// another key. IDs are not keys, and stay. See docs/encryption.md. Default: false, unless
	// HOLDFAST_HASH_KEYS is on.
	HashKeys bool

	// Middleware is put around the handlers of all consumers and participants, and
	// SendMiddleware around Send, SendAll, Start and Begin; the first is the outermost. See
	// also [Worker.Use] and [Worker.UseSend].
	Middleware     []Middleware
	SendMiddleware []SendMiddleware
	// Signer signs what this process tells others over RabbitMQ, and checks what they say; see
	// docs/signing.md. Nil: the keys in the file that HOLDFAST_SIGNING_KEYRING names, or none: then
	// nothing is signed, nor checked.
	Signer holdfast.Signer
	// Signing says what is done with signatures. Default: HOLDFAST_SIGNING, or
	// [holdfast.SigningOn] where there is a Signer.
	Signing holdfast.Signing

	// CheckAfter is the age at which the Keeper hands an undecided half message
	// over. Default: 10 s.
	CheckAfter time.Duration
	// CheckBack is the schedule of check-backs; its zero value is the default
	// schedule.
	CheckBack Schedule
	// Retention is how long outcome and inbox rows are kept; step rows are kept
	// for a year at least. It must be longer than any transaction stays undecided,
	// parked ones included, and than any delivery waits: what a consumer did for a
	// message is not undone where its dead letter is compensated later than that.
	// Default: 30 days; at least a day more than the check-backs' MaxAge.
	Retention time.Duration
	// Timeouts are limits of time; Tuning are numbers and sizes. Few need to set any.
	Timeouts Timeouts
	Tuning   Tuning

	// OnAlert is called, in a goroutine of its own, when something parks, a dead
	// letter arrives, or a breaker opens or closes. It may block for a minute; what
	// does not fit into a queue of 1,000 alerts is dropped, and counted.
	//
	// It is told of this process's group and consumers, in whichever process an alert is
	// raised, and of what belongs to nobody who can be told.
	OnAlert func(ctx context.Context, a holdfast.Alert)
	// AllAlerts says that OnAlert and Webhook also take the alerts of the groups and
	// consumers of the prefix none of whose processes has such a hook. False: they are
	// kept, the last 10,000, until a process that has any hook is there.
	AllAlerts bool
	// Webhook is posted the same. The zero value: HOLDFAST_WEBHOOK_URL and
	// HOLDFAST_WEBHOOK_SECRET, or none.
	Webhook Webhook
	// ConsoleURL is where people reach the console, such as https://holdfast.example.com: alerts
	// have the Link of its page. Empty: HOLDFAST_CONSOLE_URL, or none.
	ConsoleURL string
	// Meter makes the metrics; nil means OpenTelemetry's global provider.
	Meter metric.MeterProvider
	// TracerProvider makes the spans of transactions, deliveries and sagas: one trace from
	// the call through all that becomes of it, in whichever process; see docs/tracing.md.
	// Nil: nothing is traced, and messages carry no trace. What it makes of spans is its
	// own affair: where it panics, there is no span, and where it blocks, the work waits.
	TracerProvider trace.TracerProvider

	namespaceGiven bool
	// sagaCohortsAsked says that Tuning.MaxSagaCohort was set to more than 1.
	sagaCohortsAsked bool
	// process is Instance with a random part: no other process has it.
	process string
}

// Webhook is where alerts are posted to, as JSON, signed as Standard Webhooks
// specifies (https://www.standardwebhooks.com). The zero value posts nowhere.
//
// An alert is posted until the answer is 2xx, for up to 15 minutes; an answer
// other than 429 and 5xx is final. It may come more than once, then with the same
// webhook-id, and in any order.
type Webhook struct {
	// URL is an http or https address.
	URL string
	// Secret is the signing key: 24 to 64 random bytes in base64, with or without
	// the prefix whsec_. Required if URL is set.
	Secret string
	// Client makes the requests, each bounded by 10 s; nil means one of the
	// worker's own, which uses the proxy of the environment and follows no
	// redirects.
	Client *http.Client
}

func (o Options) withDefaults() Options {
	setDefault(&o.AMQPURL, os.Getenv("AMQP_URL"))
	o.namespaceGiven = o.Namespace != ""
	setDefault(&o.Namespace, os.Getenv("TEMPORAL_NAMESPACE"))
	setDefault(&o.Namespace, "default")
	setDefault(&o.Prefix, "holdfast")
	if o.process = o.Instance + "-" + uuid.NewString()[:8]; o.Instance == "" {
		host, _ := os.Hostname() // an empty host name is still unique
		o.Instance = fmt.Sprintf("%s-%d%s", nameOf(host), os.Getpid(), o.process)
		o.process = o.Instance
	}
	o.Logger = orDiscard(o.Logger)
	o.Timeouts.setDefaults()
	o.sagaCohortsAsked = o.Tuning.MaxSagaCohort > 1
	o.Tuning.setDefaults()
	setDefault(&o.CheckAfter, 10*time.Second)
	setDefault(&o.Lane, holdfast.Traced)
	setDefault(&o.Retention, 30*24*time.Hour)
	if on, err := strconv.ParseBool(os.Getenv("HOLDFAST_ROLLING_UPGRADE")); err == nil && on {
		o.RollingUpgrade = true
	}
	if o.Declare == nil {
		if on, err := strconv.ParseBool(os.Getenv("HOLDFAST_DECLARE")); err == nil {
			o.Declare = &on
		}
	}
	setDefault(&o.Encryption, holdfast.Encryption(os.Getenv("HOLDFAST_ENCRYPTION")))
	setDefault(&o.Encryption, holdfast.EncryptionOn)
	if on, err := hashKeys(); err == nil && on { // an error is validate's to say: nothing is left in clear for it
		o.HashKeys = true
	}
	setDefault(&o.Signing, holdfast.Signing(os.Getenv("HOLDFAST_SIGNING")))
	if o.Webhook.URL == "" && o.Webhook.Secret == "" {
		o.Webhook.URL, o.Webhook.Secret = os.Getenv("HOLDFAST_WEBHOOK_URL"), os.Getenv("HOLDFAST_WEBHOOK_SECRET")
	}
	setDefault(&o.ConsoleURL, os.Getenv("HOLDFAST_CONSOLE_URL"))
	return o
}

// nameOf is a host's name as an instance's may be: it is the system's, and may have any character.
func nameOf(host string) string {
	named := strings.Map(func(r rune) rune {
		if holdfast.ValidateName("host", string(r)) != nil {
			return '-'
		}
		return r
	}, host)
	return named[:min(len(named), holdfast.MaxName/2)]
}

var errNoAMQPURL = fmt.Errorf("%w: no RabbitMQ address: set Options.AMQPURL or AMQP_URL", holdfast.ErrInvalid)

// validate checks o after withDefaults.
func (o Options) validate() error {
	var errs []error
	if o.AMQPURL == "" {
		errs = append(errs, errNoAMQPURL)
	} else if list, err := addresses.Parse(o.AMQPURL); err != nil {
		errs = append(errs, err)
	} else {
		errs = append(errs, o.amqpTLS().Validate(list))
	}
	if o.Temporal != nil || o.Group != "" || o.express() {
		errs = append(errs, holdfast.ValidateName("group", o.Group))
	}
	errs = append(errs, holdfast.ValidateName("prefix", o.Prefix), holdfast.ValidateName("instance", o.Instance))
	for _, of := range []struct {
		name  string
		value any
	}{{"Temporal", o.Temporal}, {"Keyring", o.Keyring}, {"Signer", o.Signer}, {"Meter", o.Meter},
		{"TracerProvider", o.TracerProvider}} {
		if guard.TypedNil(of.value) {
			errs = append(errs, fmt.Errorf("%w: Options.%s is a nil %T: leave the field unset where there is none",
				holdfast.ErrInvalid, of.name, of.value))
		}
	}
	if err := o.CheckBack.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", holdfast.ErrInvalid, err))
	}
	if o.RemoteCheck && (o.Temporal == nil || o.DB != nil) {
		errs = append(errs, fmt.Errorf("%w: RemoteCheck needs Options.Temporal, and no Options.DB: "+
			"the group's own processes answer check-backs; give consumers databases of their own", holdfast.ErrInvalid))
	}
	if slices.ContainsFunc(o.Middleware, isNil) || slices.ContainsFunc(o.SendMiddleware, isNilSend) {
		errs = append(errs, fmt.Errorf("%w: a nil Middleware or SendMiddleware", holdfast.ErrInvalid))
	}
	if o.SendOnly && (o.RemoteCheck || !o.sends()) {
		errs = append(errs, fmt.Errorf("%w: SendOnly needs Options.Group, and either Options.Temporal, "+
			"or the Express lane in Options.Lane or Options.Lanes; it excludes RemoteCheck", holdfast.ErrInvalid))
	}
	errs = append(errs, alerts.Target(o.Webhook).Validate(), alerts.CheckConsole(o.ConsoleURL), o.Lane.Validate(),
		o.Timeouts.validate(), o.Tuning.validate())
	for topic, lane := range o.Lanes { // a pattern would never be anybody's topic
		if name, is := strings.CutPrefix(topic, laneOfSaga); is {
			if err := errors.Join(holdfast.ValidateName("saga's name", name), lane.Validate()); err != nil {
				errs = append(errs, fmt.Errorf("Lanes, %q: %w", topic, err))
			}
			continue
		}
		if err := (holdfast.Message{Topic: topic, Lane: lane}).Validate(); err != nil {
			errs = append(errs, fmt.Errorf("Lanes, topic %q: %w", topic, err))
		}
	}
	if least := o.CheckBack.LongestAge() + o.CheckAfter + 24*time.Hour; o.Retention >= 0 && o.Retention < least {
		errs = append(errs, fmt.Errorf("%w: Retention %v: want at least %v, "+
			"or a check-back could miss the row of a committed transaction", holdfast.ErrInvalid, o.Retention, least))
	}
	errs = append(errs, o.Encryption.Validate())
	if o.Keyring == nil && o.Encryption == holdfast.EncryptionRequired {
		errs = append(errs, fmt.Errorf("%w: Encryption is %s, and there is no keyring: set HOLDFAST_KEYRING or "+
			"Options.Keyring", holdfast.ErrInvalid, o.Encryption))
	}
	if _, err := hashKeys(); err != nil {
		errs = append(errs, err)
	}
	if o.Keyring == nil && o.HashKeys {
		errs = append(errs, fmt.Errorf("%w: keys are to be hashed (HashKeys, HOLDFAST_HASH_KEYS), and there is no keyring: "+
			"set HOLDFAST_KEYRING or Options.Keyring", holdfast.ErrInvalid))
	}
	if o.TrustBeginRows && o.RollingUpgrade {
		errs = append(errs, fmt.Errorf("%w: TrustBeginRows and RollingUpgrade are both set, and sagas of an older version "+
			"have no begin rows: unset TrustBeginRows, in all processes of the group, before the upgrade", holdfast.ErrInvalid))
	}
	errs = append(errs, broker.ValidSigning(o.Signer, o.Signing, o.RollingUpgrade))
	errs = append(errs, notNegative("CheckAfter", o.CheckAfter), notNegative("Retention", o.Retention))
	return errors.Join(errs...)
}

// hashKeys is what the environment says of hashing keys.
func hashKeys() (bool, error) { return seal.HashKeysSetting(os.Getenv("HOLDFAST_HASH_KEYS")) }

// openKeyrings opens the keyrings that the environment names, where there are no others.
func (o *Options) openKeyrings() error {
	if path := os.Getenv("HOLDFAST_KEYRING"); o.Keyring == nil && path != "" {
		k, err := keyring.Open(path)
		if err != nil {
			return fmt.Errorf("HOLDFAST_KEYRING: %w", err)
		}
		o.Keyring = k
	}
	if path := os.Getenv("HOLDFAST_SIGNING_KEYRING"); o.Signer == nil && path != "" {
		s, err := keyring.OpenSigner(path)
		if err != nil {
			return fmt.Errorf("HOLDFAST_SIGNING_KEYRING: %w", err)
		}
		o.Signer = s
	}
	return nil
}

// brokerOptions are those of each connection with RabbitMQ.
func (o Options) brokerOptions() broker.Options {
	return broker.Options{URL: o.AMQPURL, TLS: o.amqpTLS(), Prefix: o.Prefix, Name: o.Instance, Signer: o.Signer,
		Signing: o.Signing, Logger: o.Logger}
}

// amqpTLS is how to speak TLS with RabbitMQ.
func (o Options) amqpTLS() broker.TLS {
	return broker.TLS{Config: o.AMQPTLS, CA: os.Getenv(addresses.VariableCA),
		Cert: os.Getenv(addresses.VariableCert), Key: os.Getenv(addresses.VariableKey)}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// BreakerOptions say when a consumer's or a participant's circuit breaker pauses it: see
// [holdfast.BreakerOptions]. The zero value means the defaults.
type BreakerOptions = holdfast.BreakerOptions

// Schedule says when an undecided transaction is checked back, and when that stops and an
// operator is waited for: see [holdfast.Schedule]. The zero value is the default.
type Schedule = holdfast.Schedule

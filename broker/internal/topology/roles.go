package topology

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// The roles of RabbitMQ's users, in the order in which they are listed.
const (
	RoleWorker      = "worker"      // a process with a group, Temporal, a Keeper
	RoleConsumer    = "consumer"    // handles messages
	RoleParticipant = "participant" // takes part in sagas
	RoleProducer    = "producer"    // a group's program in another language
	RoleKeeper      = "keeper"      // keeps the half queues of such a group
	RoleOperator    = "operator"    // looks with the command holdfast, and pauses consumers
	RoleForeign     = "foreign"     // publishes messages, and has nothing of Holdfast
)

// Roles are all roles.
func Roles() []string {
	return []string{RoleWorker, RoleConsumer, RoleParticipant, RoleProducer, RoleKeeper, RoleOperator, RoleForeign}
}

// Access says what a user of RabbitMQ is to do.
type Access struct {
	Role string
	// User is the user's name.
	User string
	// Groups are the producer groups of a worker that declares nothing, of a producer or
	// of a keeper.
	Groups []string
	// Consumers and Participants are names of consumers and participants.
	Consumers, Participants []string
	// Topics are those to which the user may publish, with * for one word and # for any
	// number of words. A producer and a foreign publisher need some; without any, others
	// may publish to all topics. Those of a consumer or participant that makes its own
	// bindings are the keys that it may bind to, as they are written; without any, it may
	// bind to all.
	Topics []string
	// NoDeclare is for processes that declare nothing (Options.Declare is false): they get
	// no right to make what stays.
	NoDeclare bool
	// Answers has processes answer `holdfast doctor`, which needs write permission for
	// the default exchange, and so for every queue of the virtual host.
	Answers bool
}

// Grant are the rights of one user, as regular expressions of rabbitmqctl set_permissions.
type Grant struct {
	User, Configure, Write, Read string
	// Exchange, Topics (write) and TopicsRead (read) are what set_topic_permissions is
	// told; Exchange empty: nothing. RabbitMQ asks the second when a queue is bound or
	// unbound, of the binding's key.
	Exchange, Topics, TopicsRead string
}

func (a Access) validate() error {
	need := func(what string, names []string) error {
		if len(names) == 0 {
			return fmt.Errorf("%w: role %s: say for which %s", holdfast.ErrInvalid, a.Role, what)
		}
		return nil
	}
	var err error
	switch a.Role {
	case RoleWorker:
		if a.NoDeclare {
			err = need("group", a.Groups)
		}
	case RoleConsumer:
		err = need("consumer", a.Consumers)
	case RoleParticipant:
		err = need("participant", a.Participants)
	case RoleProducer:
		if err = need("group", a.Groups); err == nil {
			err = need("topics", a.Topics)
		}
	case RoleKeeper:
		err = need("group", a.Groups)
	case RoleForeign:
		err = need("topics", a.Topics)
	case RoleOperator:
	default:
		err = fmt.Errorf("%w: role %q: want one of %s", holdfast.ErrInvalid, a.Role, strings.Join(Roles(), ", "))
	}
	if err != nil {
		return err
	}
	for _, g := range a.Groups {
		if err := wire.ValidGroup(g); err != nil {
			return err
		}
	}
	for _, c := range slices.Concat(a.Consumers, a.Participants) {
		if err := holdfast.ValidateName("consumer", c); err != nil {
			return err
		}
	}
	if len(a.Topics) > 0 {
		return wire.ValidConsumer("x", a.Topics)
	}
	return nil
}

// Grant says which rights a user needs in an installation. The error is one that
// [holdfast.ErrInvalid] is.
func (a Access) Grant(n wire.Names) (Grant, error) {
	if err := a.validate(); err != nil {
		return Grant{}, err
	}
	g := Grant{User: a.User}
	configure, write, read := a.rights()
	if a.Role == RoleWorker && !a.NoDeclare {
		all := "^" + regexp.QuoteMeta(n.Prefix) + `\.`
		g.Configure, g.Write, g.Read = all, "^("+regexp.QuoteMeta(n.Prefix)+`\..*|amq\.default)$`, all
	} else {
		answers := a.Answers && slices.Contains(configure, `status\..*`)
		g.Configure, g.Write, g.Read = patternOf(n.Prefix, configure, false),
			patternOf(n.Prefix, write, answers), patternOf(n.Prefix, read, false)
	}
	switch {
	case len(a.Topics) == 0:
	case slices.Contains(write, "topics"):
		g.Exchange, g.Topics, g.TopicsRead = n.TopicsExchange(), topicsPattern(a.Topics), nothing
		if a.Role == RoleWorker && !a.NoDeclare {
			g.TopicsRead = ".*" // it binds the queues of all consumers
		}
	case slices.Contains(read, "topics"):
		g.Exchange, g.Topics, g.TopicsRead = n.TopicsExchange(), nothing, keysPattern(a.Topics)
	}
	return g, nil
}

// rights are what the user may configure, write and read: patterns of what is behind the
// prefix and a dot.
func (a Access) rights() (configure, write, read []string) {
	status := []string{"status", `status\..*`}
	switch a.Role {
	case RoleOperator:
		ends := []string{`pauses\.end\..*`}
		return ends, []string{"status", "pauses", ends[0]}, []string{"pauses", ends[0]}
	case RoleForeign:
		return nil, []string{"topics"}, nil
	case RoleProducer:
		return nil, []string{"half", "topics", "answers"}, []string{`check\.` + anyOf(a.Groups)}
	case RoleKeeper:
		write = []string{"half", "topics", "compensated", "queues", "dead", `retry\..*`, "check", `answers\..*`, "alerts"}
		read = append(a.kept(), "answers", `answers\..*`, `hook\.`+anyOf(a.Groups))
		return []string{`status\..*`, `answers\..*`}, append(write, status...), append(read, status...)
	case RoleWorker:
		groups, own := anyOf(a.Groups), []string(nil)
		write = []string{"half", "sagas", "topics", "compensated", "queues", "dead", `retry\..*`, "replies",
			`replies\.` + groups + "@.*", "alerts"}
		read = append(a.kept(), "replies", `replies\.`+groups+"(@.*)?", `hook\.`+groups)
		if names := slices.Concat(a.Consumers, a.Participants); len(names) > 0 {
			own = []string{`(q|alone)\.` + anyOf(names), "pauses"}
		}
		return []string{`status\..*`, `replies\.` + groups + "@.*"}, append(write, status...),
			slices.Concat(own, read, status)
	}
	names := slices.Concat(a.Consumers, a.Participants)
	own := `(q|alone)\.` + anyOf(names)
	configure, write, read = []string{own, `status\..*`}, []string{own, "queues", "dead"}, []string{own, "topics"}
	if len(a.Consumers) > 0 {
		read = append(read, "compensated")
	}
	read = append(read, "queues", "retry")
	if a.NoDeclare {
		configure, write, read = configure[1:], write[1:], []string{own}
	}
	if len(a.Participants) > 0 {
		write = append(write, "replies")
	}
	write = append(write, `retry\..*`, "alerts")
	hooks := slices.Clone(names)
	if len(names) > 1 {
		slices.Sort(names)
		hooks = append(hooks, strings.TrimPrefix(HookOf("", names, false).Name, "@"))
	}
	read = append(read, `hook\.@`+anyOf(hooks), "pauses")
	return configure, append(write, status...), append(read, status...)
}

// kept are the queues that a group's process with Temporal takes records out of.
func (a Access) kept() []string {
	return []string{`half\.` + anyOf(a.Groups) + "(#[0-9]+)?", `dead(\.(oversized|expired))?`}
}

// nothing is the pattern that RabbitMQ takes for no right.
const nothing = "^$"

// keysPattern is the pattern of the bindings' keys themselves: a queue that is bound to
// "a.#" gets more than one that is bound to "a.*", which [topicsPattern] of the latter would
// allow, too. The keys of compensation notices of older versions are removed by their
// consumer.
func keysPattern(topics []string) string {
	return "^" + anyOf(topics) + "(" + regexp.QuoteMeta(holdfast.CompensatedSuffix) + ")?$"
}

// anyOf is a pattern of one of the names.
func anyOf(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = regexp.QuoteMeta(name)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "(" + strings.Join(quoted, "|") + ")"
}

// patternOf is a pattern of names of the installation, and of the default exchange.
func patternOf(prefix string, parts []string, defaultExchange bool) string {
	if len(parts) == 0 {
		return nothing
	}
	all := parts[0]
	if len(parts) > 1 {
		all = "(" + strings.Join(parts, "|") + ")"
	}
	all = regexp.QuoteMeta(prefix) + `\.` + all
	if defaultExchange {
		return "^(" + all + `|amq\.default)$`
	}
	return "^" + all + "$"
}

// topicsPattern is the pattern of the routing keys that a binding with one of the topics
// matches.
func topicsPattern(topics []string) string {
	out := make([]string, len(topics))
	for i, topic := range topics {
		words := slices.CompactFunc(strings.Split(topic, "."), func(a, b string) bool { return a == "#" && b == "#" })
		var b strings.Builder
		for j, word := range words {
			switch {
			case word == "#" && len(words) == 1:
				b.WriteString(".*")
			case word == "#" && j == 0:
				b.WriteString(`(.*\.)?`)
			case word == "#":
				b.WriteString(`(\..*)?`)
			default:
				if j > 0 && (j > 1 || words[0] != "#") {
					b.WriteString(`\.`)
				}
				if word == "*" {
					b.WriteString("[^.]*")
				} else {
					b.WriteString(regexp.QuoteMeta(word))
				}
			}
		}
		out[i] = b.String()
	}
	if len(out) == 1 {
		return "^" + out[0] + "$"
	}
	return "^(" + strings.Join(out, "|") + ")$"
}

// Commands are the commands of rabbitmqctl that give the rights, for a virtual host, which
// they name always.
func (g Grant) Commands(vhost string) []string {
	vhost = " -p " + shellWord(vhost)
	out := []string{fmt.Sprintf("rabbitmqctl set_permissions%s %s %s %s %s", vhost, shellWord(g.User),
		quoted(g.Configure), quoted(g.Write), quoted(g.Read))}
	if g.Exchange != "" {
		out = append(out, fmt.Sprintf("rabbitmqctl set_topic_permissions%s %s %s %s %s", vhost, shellWord(g.User),
			shellWord(g.Exchange), quoted(g.Topics), quoted(g.TopicsRead)))
	}
	return out
}

// quoted is one word for a shell, in quotes.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// shellWord is one word for a shell, in quotes where it needs them.
func shellWord(s string) string {
	if holdfast.ValidateName("word", s) == nil && s[0] != '-' {
		return s
	}
	return quoted(s)
}

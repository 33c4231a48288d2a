package broker

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast"
)

// What the names of exchanges have behind the prefix.
const (
	topicsName  = ".topics"      // committed messages and calls
	noticesName = ".compensated" // compensation notices
	halfName    = ".half"        // to the half queues, by their names
	queuesName  = ".queues"      // to consumers' queues, by their names
	retryName   = ".retry"       // out of the delay queues
	deadName    = ".dead"        // to the dead letters
	repliesName = ".replies"     // to the reply queues, by their names
	checksName  = ".check"       // to the queues of check-backs, by their names
	answersName = ".answers"     // to whoever asked
	alertsName  = ".alerts"      // alerts, to those who tell people
	hookName    = ".hook."       // queues of alerts that stay, by who takes them

	// Behind the name of the queue of dead letters.
	oversizedName = ".oversized"
	expiredName   = ".expired"
)

func deadQueue(prefix string) string { return prefix + deadName }

// consumerOf returns the name of the consumer whose queue it is, if it is one's.
func consumerOf(prefix, queue string) string {
	name, ok := strings.CutPrefix(queue, prefix+".q.")
	if !ok {
		return ""
	}
	return consumerName(name)
}

// ownerOf returns the name of the consumer whose queue it is, or whose queue of
// suspects.
func ownerOf(prefix, queue string) string {
	if name, ok := strings.CutPrefix(queue, prefix+".alone."); ok {
		return consumerName(name)
	}
	return consumerOf(prefix, queue)
}

// groupOf returns the producer group whose half queue it is, if it is one's.
func groupOf(prefix, queue string) string {
	group, ok := strings.CutPrefix(queue, prefix+".half.")
	if !ok {
		return ""
	}
	group, n, several := strings.Cut(group, "#")
	if i, err := strconv.Atoi(n); several && (err != nil || i < 2 || i > MaxHalfQueues || strconv.Itoa(i) != n) {
		return ""
	}
	if validGroup(group) != nil {
		return ""
	}
	return group
}

// MaxHalfQueues is how many half queues a group has at most.
const MaxHalfQueues = 16

// nthHalfQueue is the name of the nth half queue of a group, from 1.
func nthHalfQueue(prefix, group string, n int) string {
	name := prefix + ".half." + group
	if n > 1 {
		name += "#" + strconv.Itoa(n) // no group's name has a #
	}
	return name
}

// halfQueueNumber says which of a group's n half queues has the records of a transaction.
func halfQueueNumber(txID string, n int) int {
	if n <= 1 {
		return 1
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(txID)) // never fails
	return 1 + int(h.Sum32()%uint32(n))
}

// DelayQueue is [Broker.RetryQueue] with a prefix.
func DelayQueue(prefix string, delay time.Duration) string {
	return prefix + ".retry." + delayName(delay)
}

// delayName is the shortest text of a delay: 10s, 5m, 1h30m, 500ms.
func delayName(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func repliesPrefix(prefix string) string { return prefix + ".replies." }

// groupOfReplies returns the producer group whose durable reply queue it is, if it
// is one's.
func groupOfReplies(prefix, queue string) string {
	group, ok := strings.CutPrefix(queue, repliesPrefix(prefix))
	if !ok || validGroup(group) != nil {
		return ""
	}
	return group
}

// isReplyQueue reports whether queue may be replied to: a call must not fill any
// other.
func isReplyQueue(prefix, queue string) bool {
	return strings.HasPrefix(queue, repliesPrefix(prefix)) && plainID(queue, maxText)
}

func validGroup(group string) error { return holdfast.ValidateName("producer group", group) }

// validTx checks a transaction's ID by the rules of a message's.
func validTx(tx string) error {
	if tx == "" {
		return fmt.Errorf("%w: the transaction's ID is empty", holdfast.ErrInvalid)
	}
	return holdfast.Message{ID: tx, Topic: "x"}.Validate()
}

// consumerName returns s if a consumer can be called so.
func consumerName(s string) string {
	if holdfast.ValidateName("consumer", s) != nil {
		return ""
	}
	return s
}

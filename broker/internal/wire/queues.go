package wire

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast"
)

// DeadQueue is the name of the queue of dead letters.
func DeadQueue(prefix string) string { return prefix + DeadName }

// ConsumerOf returns the name of the consumer whose queue it is, if it is one's.
func ConsumerOf(prefix, queue string) string {
	name, ok := strings.CutPrefix(queue, prefix+".q.")
	if !ok {
		return ""
	}
	return ConsumerName(name)
}

// OwnerOf returns the name of the consumer whose queue it is, or whose queue of
// suspects.
func OwnerOf(prefix, queue string) string {
	if name, ok := strings.CutPrefix(queue, prefix+".alone."); ok {
		return ConsumerName(name)
	}
	return ConsumerOf(prefix, queue)
}

// GroupOf returns the producer group whose half queue it is, if it is one's.
func GroupOf(prefix, queue string) string {
	group, ok := strings.CutPrefix(queue, prefix+".half.")
	if !ok {
		return ""
	}
	group, n, several := strings.Cut(group, "#")
	if i, err := strconv.Atoi(n); several && (err != nil || i < 2 || i > MaxHalfQueues || strconv.Itoa(i) != n) {
		return ""
	}
	if ValidGroup(group) != nil {
		return ""
	}
	return group
}

// MaxHalfQueues is how many half queues a group has at most.
const MaxHalfQueues = 16

// HalfQueue is the name of the nth half queue of a group, from 1.
func HalfQueue(prefix, group string, n int) string {
	name := prefix + ".half." + group
	if n > 1 {
		name += "#" + strconv.Itoa(n) // no group's name has a #
	}
	return name
}

// HalfQueueNumber says which of a group's n half queues has the records of a transaction.
func HalfQueueNumber(txID string, n int) int {
	if n <= 1 {
		return 1
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(txID)) // never fails
	return 1 + int(h.Sum32()%uint32(n))
}

// DelayQueue is the name of the queue in which messages wait for delay before they are
// tried again, and of the fanout exchange that leads to it.
func DelayQueue(prefix string, delay time.Duration) string {
	return prefix + ".retry." + DelayName(delay)
}

// DelayName is the shortest text of a delay: 10s, 5m, 1h30m, 500ms.
func DelayName(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// RepliesPrefix begins the names of reply queues.
func RepliesPrefix(prefix string) string { return prefix + ".replies." }

// GroupOfReplies returns the producer group whose durable reply queue it is, if it
// is one's.
func GroupOfReplies(prefix, queue string) string {
	group, ok := strings.CutPrefix(queue, RepliesPrefix(prefix))
	if !ok || ValidGroup(group) != nil {
		return ""
	}
	return group
}

// IsReplyQueue reports whether queue may be replied to: a call must not fill any
// other.
func IsReplyQueue(prefix, queue string) bool {
	return strings.HasPrefix(queue, RepliesPrefix(prefix)) && plainID(queue, MaxText)
}

// ValidGroup checks a producer group's name.
func ValidGroup(group string) error { return holdfast.ValidateName("producer group", group) }

// ValidTx checks a transaction's ID by the rules of a message's.
func ValidTx(tx string) error {
	if tx == "" {
		return fmt.Errorf("%w: the transaction's ID is empty", holdfast.ErrInvalid)
	}
	return holdfast.Message{ID: tx, Topic: "x"}.Validate()
}

// ConsumerName returns s if a consumer can be called so.
func ConsumerName(s string) string {
	if holdfast.ValidateName("consumer", s) != nil {
		return ""
	}
	return s
}

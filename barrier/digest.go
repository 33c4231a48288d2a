package barrier

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// digestSize is how many bytes an outcome row keeps of each message's digest.
const digestSize = 16

// digestOf is what an outcome row keeps of a transaction's messages.
func digestOf(ms []holdfast.Message) []byte {
	if len(ms) == 0 {
		return nil
	}
	out := make([]byte, 0, len(ms)*digestSize)
	for i := range ms {
		out = appendDigest(out, &ms[i], sha256.Sum256(ms[i].Body))
	}
	return out
}

// appendDigest appends the digest of a message whose body has a hash: so that the
// digest is known where only the hash of the body is.
func appendDigest(out []byte, m *holdfast.Message, body [sha256.Size]byte) []byte {
	var room [512]byte
	text := room[:0]
	for _, s := range [...]string{m.ID, m.Topic, m.Key} {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	sum := sha256.Sum256(append(text, body[:]...))
	return append(out, sum[:digestSize]...)
}

// Claim is a message that is said to be one of a committed transaction.
type Claim struct {
	// TxID and Group are the transaction's, empty if none is named.
	TxID, Group string
	// Message is the message, with its ID.
	Message holdfast.Message
	// OriginalSHA256 is the hash, in hex, of the body that an operator replaced; empty:
	// nobody did.
	OriginalSHA256 string
}

// Proven returns nil if the outcome row says that the transaction of a claim is
// committed, and with this message. Otherwise the error says why that is not known;
// it wraps [holdfast.ErrNoOutcome] and is marked with [holdfast.Permanent], unless
// the database did not answer. tx is the transaction that acts on it.
//
// Of a row without digests (of an earlier version, or of a process in another
// language) only the ID of the message is compared.
func Proven(ctx context.Context, tx *gorm.DB, c Claim) error {
	if err := checkTx(tx); err != nil {
		return err
	}
	no := func(format string, args ...any) error {
		return holdfast.Permanent(fmt.Errorf("%w: "+format, append([]any{holdfast.ErrNoOutcome}, args...)...))
	}
	if c.TxID == "" || c.Group == "" {
		return no("message %s names no transaction: nothing was committed with it", c.Message.ID)
	}
	row, err := read(ctx, tx.Statement.ConnPool, c.TxID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return no("this database has no outcome row of transaction %s, "+
			"so it never committed, or its row was deleted by retention", c.TxID)
	case err != nil:
		return explain(tx, "read the outcome row of transaction "+c.TxID, err)
	case row.Group != c.Group:
		return no("transaction %s belongs to producer group %q, not %q", c.TxID, row.Group, c.Group)
	case row.Resolution != holdfast.Commit:
		return no("transaction %s was rolled back", c.TxID)
	}
	if why := row.differs(&c); why != "" {
		return no("transaction %s is committed, but %s", c.TxID, why)
	}
	return nil
}

// differs says why the message of a claim is not one of the row's; "" if it is.
func (row *Outcome) differs(c *Claim) string {
	m := &c.Message
	if row.Messages != nil {
		for i := range row.Messages {
			if row.Messages[i].ID == m.ID {
				return row.compare(c, appendDigest(nil, &row.Messages[i], sha256.Sum256(row.Messages[i].Body)))
			}
		}
		return fmt.Sprintf("has no message %s", m.ID)
	}
	n, ok := numberOf(m.ID, c.TxID)
	if !ok {
		return fmt.Sprintf("has no message %s", m.ID)
	}
	if row.digest == nil {
		return ""
	}
	if len(row.digest) < (n+1)*digestSize {
		return fmt.Sprintf("has %d messages, and none is %s", len(row.digest)/digestSize, m.ID)
	}
	return row.compare(c, row.digest[n*digestSize:(n+1)*digestSize])
}

func (row *Outcome) compare(c *Claim, committed []byte) string {
	body := sha256.Sum256(c.Message.Body)
	if c.OriginalSHA256 != "" {
		sum, err := hex.DecodeString(c.OriginalSHA256)
		if err != nil || len(sum) != len(body) {
			return fmt.Sprintf("message %s is said to be edited, and the hash of what it was is unreadable", c.Message.ID)
		}
		copy(body[:], sum)
	}
	if string(appendDigest(nil, &c.Message, body)) != string(committed) {
		return fmt.Sprintf("message %s is not what it committed: its topic, key or body is another one", c.Message.ID)
	}
	return ""
}

// numberOf returns the place of a message among those of its transaction, from 0.
func numberOf(id, txID string) (n int, ok bool) {
	if id == txID {
		return 0, true
	}
	number, ok := strings.CutPrefix(id, txID+".")
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n - 1, err == nil && n >= 1
}

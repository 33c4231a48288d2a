package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Mood makes a service's work on an order fail, for the demo, which writes these
// rows; no row, no trouble.
type Mood struct {
	OrderID string `gorm:"primaryKey"` // everyOrder: all of them
	Mood    string // one of those below
	Times   int    // how often; 0 means always
}

const everyOrder = "*"

// The moods.
const (
	moodTimeout  = "timeout"  // the card network does not answer
	moodLater    = "later"    // the card network asks to come again
	moodRefused  = "refused"  // the card is refused, for good
	moodBug      = "bug"      // the handler panics
	moodHeadache = "headache" // it fails, and nobody knows why
	moodStrike   = "strike"   // nobody carries parcels
)

// moods is the table of moods.
type moods struct{ db *gorm.DB }

// trouble fails as the mood of the order says.
func (s *moods) trouble(ctx context.Context, orderID string) error {
	var mood Mood
	// Outside of the handler's transaction, which is rolled back when it fails.
	find := s.db.WithContext(ctx).Where("order_id IN ?", []string{orderID, everyOrder}).Limit(1).Find(&mood)
	if find.Error != nil || find.RowsAffected == 0 {
		return find.Error
	}
	if err := s.count(ctx, mood); err != nil {
		return err
	}
	switch mood.Mood {
	case moodTimeout:
		return errors.New("the card network does not answer")
	case moodLater:
		return holdfast.RetryAfter(10*time.Second, errors.New("the card network asks to come again"))
	case moodRefused:
		return holdfast.Permanent(errors.New("the card is refused"))
	case moodBug:
		panic("index out of range: the card has no expiry date")
	case moodHeadache:
		return errors.New("the ledger says 42")
	case moodStrike:
		return errors.New("the carriers are on strike")
	}
	return fmt.Errorf("no such mood: %q", mood.Mood)
}

// count lets a mood pass after its number of times.
func (s *moods) count(ctx context.Context, mood Mood) error {
	db := s.db.WithContext(ctx)
	if mood.Times == 1 {
		return db.Delete(&mood).Error
	}
	if mood.Times > 1 {
		return db.Model(&mood).Update("times", mood.Times-1).Error
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
)

// Mood makes charging an order fail, for the demo, which writes these rows; no
// row, no trouble.
type Mood struct {
	OrderID string `gorm:"primaryKey"` // everyOrder: all of them
	Mood    string // one of those below
	Times   int    // how often; 0 means always
}

const everyOrder = "*"

// The moods.
const (
	moodTimeout  = "timeout"  // the card network does not answer
	moodRefused  = "refused"  // the card is refused, for good
	moodBug      = "bug"      // the handler panics
	moodHeadache = "headache" // it fails, and nobody knows why
)

// moods charges with what the table of moods says.
type moods struct{ db *gorm.DB }

func (s *moods) charge(ctx context.Context, tx *gorm.DB, o Order, m holdfast.Message) error {
	var mood Mood
	// Outside of tx, which is rolled back when charging fails.
	find := s.db.WithContext(ctx).Where("order_id IN ?", []string{o.ID, everyOrder}).Limit(1).Find(&mood)
	if find.Error != nil {
		return find.Error
	}
	if find.RowsAffected == 0 {
		return charge(ctx, tx, o, m)
	}
	if err := s.count(ctx, mood); err != nil {
		return err
	}
	switch mood.Mood {
	case moodTimeout:
		return errors.New("the card network does not answer")
	case moodRefused:
		return holdfast.Permanent(errors.New("the card is refused"))
	case moodBug:
		panic("index out of range: the card has no expiry date")
	case moodHeadache:
		return errors.New("the ledger says 42")
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

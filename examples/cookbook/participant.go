package cookbook

import (
	"context"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/holdfastmq/holdfast/saga"
	"github.com/holdfastmq/holdfast/worker"
)

// Place is a piece set aside.
type Place struct {
	OrderID string
	Shelf   string
	Free    bool
}

// Stock does reserve-stock for the sagas of any group. It needs RabbitMQ and a
// database; no Temporal.
func Stock(w *worker.Worker) {
	w.Participate(stock)
}

var stock = worker.Participant{
	Topic: "stock.reserve", UndoTopic: "stock.release",
	Do: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, o Order) (string, error) {
		var place Place
		found := tx.Clauses(clause.Locking{Strength: "UPDATE"}).Where("free").Limit(1).Find(&place) // nobody else gets it
		if found.Error != nil {
			return "", found.Error // tried again: at once, then after each delay of the Ladder
		}
		if found.RowsAffected == 0 {
			return "", saga.Refuse("nothing is left") // an answer, and never tried again
		}
		return place.Shelf, tx.Model(&Place{}).Where("shelf = ?", place.Shelf).
			Updates(map[string]any{"free": false, "order_id": o.ID}).Error
	}),
	Undo: worker.TypedParticipation(func(_ context.Context, tx *gorm.DB, o Order) (any, error) {
		return nil, tx.Model(&Place{}).Where("order_id = ?", o.ID).Updates(map[string]any{"free": true, "order_id": ""}).Error
	}),
	Ladder: []time.Duration{time.Second, 10 * time.Second, time.Minute},
}

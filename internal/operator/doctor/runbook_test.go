package doctor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/operator/text"
)

func TestRunbookPagesAreThere(t *testing.T) {
	for _, row := range runbook {
		_, err := os.Stat(filepath.Join("..", "..", "..", "docs", "runbook", row.page+".md"))
		require.NoError(t, err, row.page)
	}
	for want, f := range map[string]Finding{
		"saga-parked":              {Part: "Temporal", Check: "sagas", Level: text.LevelWarning},
		"saga-compensation-failed": {Part: "Temporal", Check: "sagas not undone", Level: text.LevelProblem},
		"not-there":                {Part: "Waiting", Check: "participant stock.reserve", Level: text.LevelProblem},
		"intake":                   {Part: "RabbitMQ", Check: "dead letters", Level: text.LevelWarning},
		"dead-letter":              {Part: "Temporal", Check: "dead letters", Level: text.LevelWarning},
		"":                         {Part: "Temporal", Check: "sagas", Level: text.LevelOK},
	} {
		require.Equal(t, want, f.Runbook(), f)
	}
}

func TestWhatCouldNotBeLookedAt(t *testing.T) {
	require.True(t, Finding{Check: "connection", Level: text.LevelProblem}.Unseen())
	require.True(t, Finding{Check: "sagas", Level: text.LevelWarning, Detail: "unknown: no answer"}.Unseen())
	require.False(t, Finding{Check: "connection", Level: text.LevelOK}.Unseen())
	require.False(t, Finding{Check: "sagas", Level: text.LevelWarning, Detail: "1 saga waiting"}.Unseen())
}

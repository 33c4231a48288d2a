package sagas_test

import (
	"testing"

	"github.com/holdfastmq/holdfast/workflows/internal/workflowtest"
)

func TestMain(m *testing.M) { workflowtest.Main(m) }

package holdfast
import (
 _ "go.temporal.io/sdk/client"
 _ "go.temporal.io/sdk/contrib/envconfig"
 _ "github.com/rabbitmq/amqp091-go"
 _ "gorm.io/gorm"
 _ "gorm.io/driver/postgres"
 _ "github.com/spf13/cobra"
 _ "github.com/pressly/goose/v3"
 _ "github.com/google/uuid"
 _ "go.uber.org/goleak"
 _ "github.com/caarlos0/env/v11"
 _ "github.com/stretchr/testify/require"
 _ "go.temporal.io/sdk/testsuite"
 _ "github.com/cenkalti/backoff/v5"
)

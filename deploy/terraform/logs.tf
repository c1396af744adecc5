# Logs: Cloud Logging's sink, a topic, and Google's Dataflow template that posts
# what is published there to Datadog. See docs/datadog.md.

locals {
  forward = var.forward_logs ? 1 : 0
}

resource "google_pubsub_topic" "logs" {
  for_each = toset(var.forward_logs ? ["datadog-logs", "datadog-logs-failed"] : [])
  name     = each.value

  depends_on = [google_project_service.api]
}

resource "google_pubsub_subscription" "logs" {
  for_each                   = google_pubsub_topic.logs
  name                       = each.value.name
  topic                      = each.value.id
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = "" # never
  }
}

resource "google_logging_project_sink" "datadog" {
  count                  = local.forward
  name                   = "datadog"
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.logs["datadog-logs"].id}"
  unique_writer_identity = true

  # Without the health checks and requests that the service's own records tell better.
  filter = <<-EOT
    resource.type = "cloud_run_revision"
    resource.labels.service_name = "${var.service.name}"
    NOT logName : "run.googleapis.com%2Frequests"
  EOT
}

resource "google_pubsub_topic_iam_member" "sink_publishes" {
  count  = local.forward
  topic  = google_pubsub_topic.logs["datadog-logs"].id
  role   = "roles/pubsub.publisher"
  member = google_logging_project_sink.datadog[0].writer_identity
}

resource "google_service_account" "dataflow" {
  count        = local.forward
  account_id   = "datadog-logs"
  display_name = "Forwards logs to Datadog"

  depends_on = [google_project_service.api]
}

resource "google_project_iam_member" "dataflow" {
  for_each = toset(var.forward_logs ? ["roles/dataflow.worker", "roles/pubsub.viewer"] : [])
  project  = var.project
  role     = each.value
  member   = google_service_account.dataflow[0].member
}

resource "google_pubsub_subscription_iam_member" "dataflow_reads" {
  count        = local.forward
  subscription = google_pubsub_subscription.logs["datadog-logs"].id
  role         = "roles/pubsub.subscriber"
  member       = google_service_account.dataflow[0].member
}

resource "google_pubsub_topic_iam_member" "dataflow_gives_up" {
  count  = local.forward
  topic  = google_pubsub_topic.logs["datadog-logs-failed"].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.dataflow[0].member
}

resource "google_secret_manager_secret_iam_member" "dataflow_reads_api_key" {
  count     = local.forward
  secret_id = google_secret_manager_secret.api_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.dataflow[0].member
}

resource "google_storage_bucket" "dataflow" {
  count                       = local.forward
  name                        = "${var.project}-datadog-logs"
  location                    = var.region
  uniform_bucket_level_access = true
  force_destroy               = true
}

resource "google_storage_bucket_iam_member" "dataflow" {
  count  = local.forward
  bucket = google_storage_bucket.dataflow[0].name
  role   = "roles/storage.objectAdmin"
  member = google_service_account.dataflow[0].member
}

resource "google_dataflow_job" "logs" {
  count                   = local.forward
  name                    = "datadog-logs"
  region                  = var.region
  template_gcs_path       = "gs://dataflow-templates-${var.region}/latest/Cloud_PubSub_to_Datadog"
  temp_gcs_location       = "${google_storage_bucket.dataflow[0].url}/temp"
  service_account_email   = google_service_account.dataflow[0].email
  max_workers             = 2
  enable_streaming_engine = true
  on_delete               = "drain"

  parameters = {
    inputSubscription     = google_pubsub_subscription.logs["datadog-logs"].id
    outputDeadletterTopic = google_pubsub_topic.logs["datadog-logs-failed"].id
    url                   = "https://http-intake.logs.${var.datadog_site}"
    includePubsubMessage  = "true" # deploy/datadog/pipeline.json expects the entry under data
    apiKeySource          = "SECRET_MANAGER"
    apiKeySecretId        = google_secret_manager_secret_version.api_key.name
  }

  depends_on = [
    google_project_iam_member.dataflow,
    google_pubsub_subscription_iam_member.dataflow_reads,
    google_pubsub_topic_iam_member.dataflow_gives_up,
    google_secret_manager_secret_iam_member.dataflow_reads_api_key,
    google_storage_bucket_iam_member.dataflow,
  ]
}

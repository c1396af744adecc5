locals {
  shared = var.sidecar ? 0 : 1
  apis = concat(
    ["run.googleapis.com", "secretmanager.googleapis.com", "iam.googleapis.com"],
    var.token_cache ? ["redis.googleapis.com", "compute.googleapis.com"] : [],
    var.forward_logs ? ["pubsub.googleapis.com", "dataflow.googleapis.com", "compute.googleapis.com"] : [],
  )
}

resource "google_project_service" "api" {
  for_each           = toset(local.apis)
  service            = each.value
  disable_on_destroy = false
}

# The Datadog API key, for the agent and for Dataflow.
resource "google_secret_manager_secret" "api_key" {
  secret_id = "datadog-api-key"

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "api_key" {
  secret                 = google_secret_manager_secret.api_key.id
  secret_data_wo         = var.datadog_api_key
  secret_data_wo_version = var.datadog_api_key_version
}

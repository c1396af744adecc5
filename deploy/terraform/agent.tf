# The Datadog Agent as a service that many share. It is called with Google ID
# tokens, by accounts that have roles/run.invoker on it.

locals {
  agent_env = {
    DD_SITE                  = var.datadog_site
    DD_HOSTNAME              = var.agent_name # an instance has none that is worth knowing
    DD_APM_ENABLED           = "true"
    DD_APM_NON_LOCAL_TRAFFIC = "true" # listen on 0.0.0.0, not on localhost
    DD_APM_RECEIVER_PORT     = "8126"
    DD_BIND_HOST             = "0.0.0.0"

    # Traces only.
    DD_LOGS_ENABLED                                = "false"
    DD_USE_DOGSTATSD                               = "false"
    DD_REMOTE_CONFIGURATION_ENABLED                = "false"
    DD_ENABLE_METADATA_COLLECTION                  = "false"
    DD_INVENTORIES_ENABLED                         = "false"
    DD_PROCESS_CONFIG_PROCESS_COLLECTION_ENABLED   = "false"
    DD_PROCESS_CONFIG_CONTAINER_COLLECTION_ENABLED = "false"
    DD_PROCESS_CONFIG_PROCESS_DISCOVERY_ENABLED    = "false"
  }
}

resource "google_service_account" "agent" {
  count        = local.shared
  account_id   = var.agent_name
  display_name = "Datadog Agent"

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_iam_member" "agent_reads_api_key" {
  count     = local.shared
  secret_id = google_secret_manager_secret.api_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.agent[0].member
}

resource "google_cloud_run_v2_service" "agent" {
  count               = local.shared
  name                = var.agent_name
  location            = var.region
  ingress             = var.agent_ingress
  custom_audiences    = var.custom_audiences
  deletion_protection = false

  template {
    service_account                  = google_service_account.agent[0].email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = 80
    timeout                          = "30s"

    scaling {
      min_instance_count = var.agent_min_instances
      max_instance_count = var.agent_max_instances
    }

    containers {
      image = var.agent_image

      ports {
        name           = "http1" # the agent speaks no HTTP/2
        container_port = 8126
      }

      resources {
        limits = {
          cpu    = "1"
          memory = "1Gi"
        }
        cpu_idle          = false # it answers before it has processed
        startup_cpu_boost = true
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 1
        failure_threshold = 30

        http_get {
          path = "/info"
          port = 8126
        }
      }

      dynamic "env" {
        for_each = local.agent_env
        content {
          name  = env.key
          value = env.value
        }
      }

      env {
        name = "DD_API_KEY"
        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.api_key.secret_id
            version = "latest"
          }
        }
      }
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.agent_reads_api_key,
    google_secret_manager_secret_version.api_key,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  for_each = var.sidecar ? {} : merge(
    { service = google_service_account.service.member },
    { for member in var.invokers : member => member },
  )
  name     = google_cloud_run_v2_service.agent[0].name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value
}

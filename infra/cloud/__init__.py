"""The cloud side of Glidepost in an AWS account: packed, deployed, taken down. Everything here is run by a person."""

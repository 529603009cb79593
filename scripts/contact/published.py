"""Sizes of the published checkpoints, for networks of full size with random weights.

By step and folder of the checkpoint ("" where it has one network): what differs from the class's own
defaults, which are those of the published model in most cases. `parameters` of the catalog are counted
from these (`tests/test_first_contact.py`). Tokenizers and processors stay those of the tiny checkpoint:
their ids are ids of the larger vocabulary too.
"""

from typing import Any

__all__ = ["PUBLISHED"]

T5_XXL = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}
UMT5_XXL = T5_XXL | {"vocab_size": 256384}
CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
FLUX_VAE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "shift_factor": 0.1159,
    "scaling_factor": 0.3611,
}
QWEN3_4B = {
    "vocab_size": 151936,
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
QWEN_ROPE = {"mrope_section": [16, 24, 24], "rope_type": "default", "rope_theta": 1e6}
QWEN25_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rope_parameters": QWEN_ROPE,
}
SIGLIP_SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
}
WAN_22_A14B = {"in_channels": 36, "image_dim": None}
QWEN3_VL_8B = {
    "": {
        "text_config": {
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "max_position_embeddings": 262144,
            "rope_parameters": {
                "mrope_section": [24, 20, 20],
                "mrope_interleaved": True,
                "rope_type": "default",
                "rope_theta": 5e6,
            },
        },
        "vision_config": {
            "depth": 27,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_heads": 16,
            "out_hidden_size": 4096,
            "patch_size": 16,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [8, 16, 24],
        },
    }
}
SAPIENS2 = {"image_size": [1024, 768]}
PUBLISHED: dict[str, dict[str, dict[str, Any]]] = {
    "image=flux": {
        "transformer": {"guidance_embeds": True},
        "text_encoder": CLIP_L,
        "text_encoder_2": T5_XXL,
        "vae": FLUX_VAE,
    },
    "image=flux-schnell": {
        "transformer": {},
        "text_encoder": CLIP_L,
        "text_encoder_2": T5_XXL,
        "vae": FLUX_VAE,
    },
    "image=flux2-klein": {
        "transformer": {
            "num_layers": 5,
            "num_single_layers": 20,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "guidance_embeds": False,
        },
        "text_encoder": QWEN3_4B,
        "vae": {},
    },
    "image=qwen-image": {
        "transformer": {},
        "text_encoder": {
            "text_config": QWEN25_7B,
            "vision_config": {
                "depth": 32,
                "hidden_size": 1280,
                "intermediate_size": 3420,
                "num_heads": 16,
                "out_hidden_size": 3584,
                "fullatt_block_indexes": [7, 15, 23, 31],
            },
        },
        "vae": {},
    },
    "image=z-image": {"transformer": {}, "text_encoder": QWEN3_4B, "vae": FLUX_VAE},
    "video=cogvideox": {
        "transformer": {
            "num_attention_heads": 48,
            "in_channels": 32,
            "out_channels": 16,
            "num_layers": 42,
            "use_rotary_positional_embeddings": True,
            "use_learned_positional_embeddings": True,
        },
        "text_encoder": T5_XXL,
        "vae": {
            "down_block_types": ["CogVideoXDownBlock3D"] * 4,
            "up_block_types": ["CogVideoXUpBlock3D"] * 4,
            "block_out_channels": [128, 256, 256, 512],
            "layers_per_block": 3,
            "norm_num_groups": 32,
        },
    },
    "video=framepack": {
        "transformer": {"has_image_proj": True, "has_clean_x_embedder": True},
        "text_encoder": {
            "vocab_size": 128320,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 8192,
        },
        "text_encoder_2": CLIP_L,
        "image_encoder": SIGLIP_SO400M,
        "vae": {},
    },
    "video=wan": {
        "transformer": {
            "in_channels": 36,
            "image_dim": 1280,
            "added_kv_proj_dim": 5120,
        },
        "text_encoder": UMT5_XXL,
        "image_encoder": {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
        },
        "vae": {},
    },
    "video=wan2.2": {
        "transformer": {
            "in_channels": 48,
            "out_channels": 48,
            "num_attention_heads": 24,
            "ffn_dim": 14336,
            "num_layers": 30,
        },
        "text_encoder": UMT5_XXL,
        "vae": {
            "base_dim": 160,
            "decoder_base_dim": 256,
            "z_dim": 48,
            "dim_mult": [1, 2, 4, 4],
            "in_channels": 12,
            "out_channels": 12,
            "is_residual": True,
            "patch_size": 2,
            "latents_mean": [0.0] * 48,
            "latents_std": [1.0] * 48,
            "scale_factor_spatial": 16,
            "temperal_downsample": [False, True, True],
        },
    },
    "video=wan2.2-a14b": {
        "transformer": WAN_22_A14B,
        "transformer_2": WAN_22_A14B,
        "text_encoder": UMT5_XXL,
        "vae": {},
    },
    "video=hunyuan1.5": {
        "transformer": {"task_type": "i2v"},
        "text_encoder": QWEN25_7B,
        "text_encoder_2": {
            "vocab_size": 1510,
            "d_model": 1472,
            "d_kv": 64,
            "d_ff": 3584,
            "num_layers": 12,
            "num_heads": 6,
            "feed_forward_proj": "gated-gelu",
        },
        "image_encoder": SIGLIP_SO400M,
        "vae": {},
    },
    "video=ltx2": {
        "transformer": {"rope_type": "split"},
        "connectors": {"rope_type": "split"},
        "audio_vae": {},
        "vocoder": {},
        "text_encoder": {
            "text_config": {
                "vocab_size": 262208,
                "hidden_size": 3840,
                "intermediate_size": 15360,
                "num_hidden_layers": 48,
                "num_attention_heads": 16,
                "num_key_value_heads": 8,
                "head_dim": 256,
            },
            "vision_config": SIGLIP_SO400M | {"image_size": 896},
        },
        "vae": {},
    },
    "detector=grounding-dino": {
        "": {
            "backbone_config": {
                "model_type": "swin",
                "embed_dim": 128,
                "depths": [2, 2, 18, 2],
                "num_heads": [4, 8, 16, 32],
                "window_size": 12,
                "image_size": 384,
                "out_features": ["stage2", "stage3", "stage4"],
            }
        }
    },
    "detector=sam3": {"": {}},
    "detector=qwen3-vl": QWEN3_VL_8B,
    "score=qwen3-vl": QWEN3_VL_8B,
    "segmenter=sam2": {
        "": {
            "vision_config": {
                "backbone_config": {
                    "model_type": "sam2_hiera_det_model",
                    "hidden_size": 144,
                    "num_attention_heads": 2,
                    "blocks_per_stage": [2, 6, 36, 4],
                    "embed_dim_per_stage": [144, 288, 576, 1152],
                    "num_attention_heads_per_stage": [2, 4, 8, 16],
                    "window_size_per_stage": [8, 4, 16, 8],
                    "global_attention_blocks": [23, 33, 43],
                },
                "backbone_channel_list": [1152, 576, 288, 144],
            }
        }
    },
    "segmenter=sam3": {"": {}},
    "geometry=depth-pro": {
        "": {"use_fov_model": True}
        | {
            f"{part}_model_config": {
                "model_type": "dinov2",
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": 384,
                "patch_size": 16,
            }
            for part in ("image", "patch", "fov")
        }
    },
    "geometry=depth-anything": {
        "": {
            "backbone_config": {
                "model_type": "dinov2",
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": 518,
                "patch_size": 14,
                "out_indices": [5, 12, 18, 24],
                "reshape_hidden_states": False,
            },
            "reassemble_hidden_size": 1024,
            "neck_hidden_sizes": [256, 512, 1024, 1024],
            "fusion_hidden_size": 256,
            "depth_estimation_type": "metric",
            "max_depth": 20,
        }
    },
    "geometry=sapiens2": {
        "": SAPIENS2
        | {
            "num_labels": 3,
            "head_config": {
                "use_pixel_shuffle": True,
                "upsample_out_channels": [512, 256, 128, 64],
                "upsample_kernel_size": 3,
                "conv_out_channels": [64, 32],
                "conv_kernel_size": 3,
                "scale_conv_out_channels": [512, 128, 64],
                "scale_final_hidden_sizes": [512, 128],
            },
        }
    },
    "keypoints=sapiens2": {
        "": SAPIENS2
        | {
            "num_labels": 308,
            "head_config": {"upsample_out_channels": [768, 768], "conv_out_channels": [768, 768]},
        }
    },
    "keypoints=vitpose": {
        "": {
            "backbone_config": {
                "model_type": "vitpose_backbone",
                "hidden_size": 1280,
                "num_hidden_layers": 32,
                "num_attention_heads": 16,
                "num_experts": 6,
                "part_features": 320,
                "out_indices": [32],
            },
            "num_labels": 17,
        }
    },
    "score=clip": {"": {}},
    "score=siglip2": {
        "": {
            "text_config": {
                "vocab_size": 256000,
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
            },
            "vision_config": SIGLIP_SO400M,
        }
    },
    "language=transformers": {
        "": {
            "vocab_size": 151936,
            "hidden_size": 4096,
            "intermediate_size": 12288,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
        }
    },
}
"""Without: FLUX.2-dev (112 GiB of weights do not fit a card and its neighbor's memory), MoGe and Depth
Anything 3, whose packages have their own sizes (`scripts.contact.checkpoints`)."""
